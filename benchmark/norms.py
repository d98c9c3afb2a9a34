"""The geometry of each norm: everything an attack asks of it, so that no attack branches on the norm.

Perturbations are flat, (n, d). A budget is a float in pixel units.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from benchmark import randomness
from benchmark.errors import UnsupportedNorm

_TINY = 1e-12
_LEAST_SLOPE = 1e-30
_NEWTON_STEPS = 64


class Norm(ABC):
    """What attacks need to know of a norm."""

    name: str

    @abstractmethod
    def distance(self, delta: Tensor) -> Tensor:
        """Return the length of each perturbation, (n,)."""

    @abstractmethod
    def project(self, delta: Tensor, epsilon: float) -> Tensor:
        """Return the closest perturbations of length at most epsilon, (n, d)."""

    @abstractmethod
    def steepest(self, grad: Tensor) -> Tensor:
        """Return the unit step along which a linear function with this gradient rises most, (n, d)."""

    @abstractmethod
    def random_direction(self, key: Tensor, size: int) -> Tensor:
        """Draw one perturbation of length 1 for each key, (n, size)."""

    @abstractmethod
    def to_hyperplane(self, x: Tensor, weight: Tensor, gap: Tensor) -> Tensor:
        """Return the shortest step within the box [0, 1] that changes ``weight · x`` by ``gap``.

        Args:
            x: points in the box, (n, d).
            weight: normal vectors, (n, d).
            gap: wanted changes, (n,).
        Returns:
            Steps, (n, d); where the box does not reach the hyperplane, the step to the box's corner nearest to it.
        """


class Linf(Norm):
    """The largest change of any pixel."""

    name = "Linf"

    def distance(self, delta: Tensor) -> Tensor:
        return delta.abs().amax(1)

    def project(self, delta: Tensor, epsilon: float) -> Tensor:
        return delta.clamp(-epsilon, epsilon)

    def steepest(self, grad: Tensor) -> Tensor:
        return grad.sign()

    def random_direction(self, key: Tensor, size: int) -> Tensor:
        draw = 2 * randomness.uniform(key, size) - 1
        return draw / self.distance(draw).clamp_min(_TINY)[:, None]

    def to_hyperplane(self, x: Tensor, weight: Tensor, gap: Tensor) -> Tensor:
        return _box_step(x, weight, gap, torch.ones_like(weight))


class L2(Norm):
    """The Euclidean length of the change."""

    name = "L2"

    def distance(self, delta: Tensor) -> Tensor:
        length: Tensor = torch.linalg.vector_norm(delta, dim=1)
        return length

    def project(self, delta: Tensor, epsilon: float) -> Tensor:
        length = self.distance(delta)[:, None]
        return delta * (epsilon / length.clamp_min(epsilon))

    def steepest(self, grad: Tensor) -> Tensor:
        return grad / self.distance(grad).clamp_min(_TINY)[:, None]

    def random_direction(self, key: Tensor, size: int) -> Tensor:
        return self.steepest(randomness.normal(key, size))

    def to_hyperplane(self, x: Tensor, weight: Tensor, gap: Tensor) -> Tensor:
        return _box_step(x, weight, gap, weight.abs())


def norm_named(name: str) -> Norm:
    """Return the norm of that name.

    Raises:
        UnsupportedNorm: no attack here is defined for it.
    """
    for norm in (Linf(), L2()):
        if norm.name == name:
            return norm
    raise UnsupportedNorm.because(
        "norm", found=name, expected="Linf or L2", remedy="choose a threat model in Linf or L2; the attacks cover these"
    )


def _box_step(x: Tensor, weight: Tensor, gap: Tensor, speed: Tensor) -> Tensor:
    """Move every coordinate at its speed towards the hyperplane until it is reached or the coordinate meets the box.

    With multiplier t the change is ``sum(|weight| * min(t * speed, room))``: concave, increasing, piecewise linear. So
    Newton's method from t = 0 climbs to the root without passing it, and ends after as many steps as pieces are met.
    """
    # The step does not depend on the scale of weight and gap, so neither may the tolerances.
    scale = weight.abs().amax(1).clamp_min(torch.finfo(weight.dtype).tiny)
    weight, gap = weight / scale[:, None], gap / scale
    speed = speed / speed.amax(1, keepdim=True).clamp_min(torch.finfo(weight.dtype).tiny)
    size = weight.abs()
    upwards = (weight * gap[:, None]) > 0
    room = torch.where(upwards, 1 - x, x)
    wanted = gap.abs()
    t = torch.zeros_like(wanted)
    for _ in range(_NEWTON_STEPS):
        reach = t[:, None] * speed
        short = wanted - (size * torch.minimum(reach, room)).sum(1)
        slope = (size * speed * (reach < room)).sum(1)
        climbs = (short > 1e-7 * wanted) & (slope > _LEAST_SLOPE)
        step = torch.where(climbs, short / slope.clamp_min(_LEAST_SLOPE), 0)
        # A row that has arrived stays where it is, however long its neighbours take.
        step = torch.where(step > 1e-7 * t, step, 0)
        if not bool((step > 0).any()):
            break
        t = t + step
    # Out of reach: every coordinate goes to its side of the box.
    unreachable = (size * room).sum(1) < wanted
    travel = torch.where(unreachable[:, None], room, torch.minimum(t[:, None] * speed, room))
    return torch.where(upwards, travel, -travel) * (size > 0)
