"""Random perturbations within a budget, one for each point."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from benchmark import randomness
from benchmark.diagnostics.sample import Sample
from benchmark.norms import Norm

Draw = Callable[[Norm, Tensor, int], Tensor]
"""From a norm, keys and a size to perturbations of length at most 1, (n, size)."""


def inside(norm: Norm, key: Tensor, size: int) -> Tensor:
    """Draw from the whole ball: uniformly in Linf and L2, in L1 along the directions that the norm draws."""
    radius = randomness.uniform(randomness.at_step(key, torch.ones_like(key)), 1) ** (1 / size)
    return norm.random_direction(key, size) * radius


def surface(norm: Norm, key: Tensor, size: int) -> Tensor:
    """Draw from the surface of the ball."""
    return norm.random_direction(key, size)


def extreme(norm: Norm, key: Tensor, size: int) -> Tensor:
    """Draw among the points that are between no two others of the ball: corners in Linf, single pixels in L1."""
    return norm.steepest(norm.random_direction(key, size))


KINDS: Mapping[str, Draw] = {"inside": inside, "surface": surface, "extreme": extreme}
"""Where random points are drawn."""


def random_points(sample: Sample, rows: Tensor, kind: str, purpose: str, number: int) -> Tensor:
    """Return one random point of the ball and the box around each of some points, (m, d).

    Args:
        sample: the points and the budget.
        rows: which of them, (m,), on the CPU.
        kind: one of `KINDS`.
        purpose: what the draws are for; others get others.
        number: of the draw, from 0.
    """
    index = torch.tensor(sample.index, dtype=torch.int64)[rows]
    key = randomness.item_keys(sample.seed, f"{purpose}-{kind}", number, 0, index).to(sample.device)
    x, epsilon = sample.flat[rows.to(sample.device)], sample.threat_model.radius
    return sample.norm.confine(x, x + epsilon * KINDS[kind](sample.norm, key, x.shape[1]), epsilon)
