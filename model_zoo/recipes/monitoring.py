"""What is watched while a network trains, on images that it is not trained upon."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmark.datasets import LabelledPoints
from benchmark.threat_models import ThreatModel
from model_zoo.recipes.objectives import alignment
from model_zoo.recipes.perturbations import SCHEMES, Scheme, perturb

ITERATIVE = Scheme(steps=10, step_size=0.25, random_start=True)
"""The attack of Andriushchenko & Flammarion 2020 with a fifth of its steps and one start of its ten."""

LEAST_ONE_STEP, GREATEST_SHARE = 0.3, 0.1
"""From which accuracy under one step, and up to which share of it under ten, a network counts as overfitted.

Measured in 54 trainings on digits with all recipes, from budgets that all of them can defend to such that none can:
with PGD-10 the share was never below 0.18, and with every recipe 0.2 or more where the network ended up robust; where
single steps failed it fell to 0 to 0.05. Below 0.3 under one step a network may only have begun to learn.
"""

REMEDY = (
    "the robust accuracy under a single step says nothing now: train with grad-align or with pgd-10, or with a smaller "
    "epsilon or fewer epochs, or keep the best epoch with early stopping"
)
"""What to do about catastrophic overfitting."""

_WIDTH = 250


@dataclass(frozen=True)
class Measurement:
    """How a network does on the held-out images.

    Args:
        standard_accuracy: of the images as they are.
        one_step_accuracy: under FGSM; None where training defends against nothing, as those below.
        robust_accuracy: under ten steps from one random start, an upper bound.
        alignment: mean cosine between gradients at images and around them.
    """

    standard_accuracy: float
    one_step_accuracy: float | None = None
    robust_accuracy: float | None = None
    alignment: float | None = None

    @property
    def overfitted(self) -> bool:
        """Whether the network has overfitted catastrophically: it resists a single step and falls to several.

        Source:
            Wong et al. 2020, arXiv:2001.03994, section 5; Andriushchenko & Flammarion 2020, arXiv:2007.02617.
        """
        if self.one_step_accuracy is None or self.robust_accuracy is None:
            return False
        resists = self.one_step_accuracy >= LEAST_ONE_STEP
        return resists and self.robust_accuracy <= GREATEST_SHARE * self.one_step_accuracy


def measure(model: nn.Module, points: LabelledPoints, threat_model: ThreatModel | None) -> Measurement:
    """Measure a network, in float32, with the same random numbers in every call; it is left in eval mode.

    Args:
        model: the network.
        points: images to measure on.
        threat_model: budget of the attacks; None for none.
    """
    model.eval()
    generator = torch.Generator().manual_seed(0)
    device = next(model.parameters()).device
    correct = {"standard": 0, "one step": 0, "iterative": 0}
    cosines: list[Tensor] = []

    def count(what: str, x: Tensor, y: Tensor) -> None:
        with torch.no_grad():
            correct[what] += int((model(x).argmax(1) == y).sum())

    for rows in torch.arange(len(points.y)).split(_WIDTH):
        x, y = points.x[rows].to(device), points.y[rows].to(device)
        count("standard", x, y)
        if threat_model is not None:
            count("one step", perturb(model, x, y, threat_model, SCHEMES["fgsm"], generator), y)
            count("iterative", perturb(model, x, y, threat_model, ITERATIVE, generator), y)
            cosines.append(alignment(model, x, y, threat_model, generator))
    shares = {what: number / len(points.y) for what, number in correct.items()}
    if threat_model is None:
        return Measurement(shares["standard"])
    cosine = torch.cat(cosines)
    aligned = float(cosine.mean()) if len(cosine) else None
    return Measurement(shares["standard"], shares["one step"], shares["iterative"], aligned)
