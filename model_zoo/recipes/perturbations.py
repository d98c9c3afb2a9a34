"""The perturbation that each recipe trains against.

All of them are one scheme: some steps of steepest ascent on a loss, each projected into the ball and the box, from the
clean image or from a random start.

Source:
    Andriushchenko & Flammarion 2020, arXiv:2007.02617, section 2 and appendix A.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.norms import norm_named
from benchmark.threat_models import ThreatModel
from model_zoo.recipe import Recipe


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
"""Schemes that are not those of any number of steps."""


def scheme_of(recipe: Recipe) -> Scheme:
    """Return how a recipe looks for its perturbation.

    GradAlign takes FGSM's single step, and so does Free, once for each update. PGD-k and TRADES take steps of 2/k of
    epsilon, but PGD-2 takes halves; for TRADES the paper's own is 0.007 at ten steps and 0.031, nearly that.
    """
    scheme = SCHEMES.get(recipe.name)
    if recipe.name == "grad-align" or recipe.name.startswith("free-"):
        scheme = SCHEMES["fgsm"]
    elif scheme is None:
        steps = recipe.steps or int(recipe.name.removeprefix("pgd-"))
        scheme = Scheme(steps, min(1.0, 2 / steps))
    return scheme if recipe.step_size is None else replace(scheme, step_size=recipe.step_size)


def perturb(
    model: nn.Module, x: Tensor, y: Tensor, threat_model: ThreatModel, scheme: Scheme, generator: torch.Generator
) -> Tensor:
    """Move images within their budget so that the cross-entropy rises.

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
    start = noise(x, threat_model, generator) if scheme.random_start else torch.zeros_like(x)

    def loss(x_adv: Tensor) -> Tensor:
        return F.cross_entropy(model(x_adv), y, reduction="sum")

    return ascend(loss, x, start, threat_model, scheme)


def noise(x: Tensor, threat_model: ThreatModel, generator: torch.Generator) -> Tensor:
    """Draw a perturbation for each image: uniform in the cube, and beyond Linf the corners drawn into the ball."""
    draw = threat_model.radius * (2 * torch.rand(x.shape, generator=generator, dtype=x.dtype) - 1)
    return norm_named(threat_model.norm).project(draw.to(x.device).flatten(1), threat_model.radius).view_as(x)


def ascend(
    loss: Callable[[Tensor], Tensor], x: Tensor, start: Tensor, threat_model: ThreatModel, scheme: Scheme
) -> Tensor:
    """Move images within their budget, from a start, so that a loss rises.

    Args:
        loss: of images, summed over them.
        x: images, (n, c, h, w), in [0, 1].
        start: perturbations within the budget, (n, c, h, w).
        threat_model: norm and epsilon of the budget.
        scheme: steps and step size.
    """
    norm, epsilon = norm_named(threat_model.norm), threat_model.radius
    x_adv = (x + start).clamp(0, 1)
    for _ in range(scheme.steps):
        x_adv.requires_grad_()
        (grad,) = torch.autograd.grad(loss(x_adv), x_adv)
        delta = (x_adv.detach() - x).flatten(1) + scheme.step_size * epsilon * norm.steepest(grad.flatten(1))
        x_adv = (x + norm.project(delta, epsilon).view_as(x)).clamp(0, 1)
    return x_adv
