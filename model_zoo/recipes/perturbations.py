"""The perturbation that each recipe trains against.

All but standard training are one scheme: some steps of steepest ascent on the loss, each projected into the ball and
the box, from the clean image or from a random start.

Source:
    Andriushchenko & Flammarion 2020, arXiv:2007.02617, section 2 and appendix A.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.norms import norm_named
from benchmark.threat_models import ThreatModel


@dataclass(frozen=True)
class Scheme:
    """How a recipe looks for its perturbation.

    Args:
        steps: number of gradient steps.
        step_size: length of each, as a part of epsilon.
        random_start: whether the first step starts from noise instead of the clean image.
    """

    steps: int
    step_size: float
    random_start: bool = False


SCHEMES: Mapping[str, Scheme] = {
    "standard": Scheme(steps=0, step_size=0.0),
    # Goodfellow et al. 2015, arXiv:1412.6572.
    "fgsm": Scheme(steps=1, step_size=1.0),
    # Wong et al. 2020, arXiv:2001.03994, algorithm 3.
    "fgsm-rs": Scheme(steps=1, step_size=1.25, random_start=True),
    # Madry et al. 2018, arXiv:1706.06083, with the step sizes of Andriushchenko & Flammarion.
    "pgd-2": Scheme(steps=2, step_size=1 / 2),
    "pgd-10": Scheme(steps=10, step_size=2 / 10),
}
"""The scheme of every recipe."""


def perturb(
    model: nn.Module, x: Tensor, y: Tensor, threat_model: ThreatModel, scheme: Scheme, generator: torch.Generator
) -> Tensor:
    """Move images within their budget so that the loss rises.

    Args:
        model: network under training; its parameters' gradients stay untouched.
        x: images, (n, c, h, w), in [0, 1].
        y: labels, (n,).
        threat_model: norm and epsilon of the budget.
        scheme: steps, step size and start.
        generator: source of the random start.
    Returns:
        Images in [0, 1] within epsilon of the given ones, up to rounding.
    """
    norm, epsilon = norm_named(threat_model.norm), threat_model.radius
    start = torch.zeros_like(x).flatten(1)
    if scheme.random_start:
        # Uniform in the cube; beyond Linf the corners are drawn into the ball.
        noise = epsilon * (2 * torch.rand(x.shape, generator=generator, dtype=x.dtype) - 1)
        start = norm.project(noise.flatten(1), epsilon)
    x_adv = (x + start.view_as(x)).clamp(0, 1)
    for _ in range(scheme.steps):
        x_adv.requires_grad_()
        loss = F.cross_entropy(model(x_adv), y, reduction="sum")
        (grad,) = torch.autograd.grad(loss, x_adv)
        delta = (x_adv.detach() - x).flatten(1) + scheme.step_size * epsilon * norm.steepest(grad.flatten(1))
        x_adv = (x + norm.project(delta, epsilon).view_as(x)).clamp(0, 1)
    return x_adv
