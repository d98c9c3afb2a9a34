"""The geometry of each norm: everything an attack asks of it, so that no attack branches on the norm.

Perturbations are flat, (n, d). A budget is a float in pixel units.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from benchmark import randomness
from benchmark.classifier import MIN_ROWS, pad_rows
from benchmark.errors import UnsupportedNorm

_TINY = 1e-12
_LEAST_SLOPE = 1e-30
_NEWTON_STEPS = 64
_ROUNDING = 1e-7
"""Relative error of a sum of float32 numbers that were rounded one by one."""


class Norm(ABC):
    """What attacks need to know of a norm."""

    name: str

    @abstractmethod
    def distance(self, delta: Tensor) -> Tensor:
        """Return the length of each perturbation, (n,)."""

    @abstractmethod
    def project(self, delta: Tensor, epsilon: float) -> Tensor:
        """Return the closest perturbations of length at most epsilon, (n, d)."""

    def confine(self, x: Tensor, x_adv: Tensor, epsilon: float) -> Tensor:
        """Bring examples into the box [0, 1] and within epsilon of the clean points, (n, d).

        The ball first and then the box: clipping to the box never leads out of a ball around a point of the box. The
        result is permitted, though in general not the closest that is.
        """
        return (x + self.project(x_adv - x, epsilon)).clamp(0, 1)

    @abstractmethod
    def steepest(self, grad: Tensor) -> Tensor:
        """Return the unit step along which a linear function with this gradient rises most, (n, d)."""

    def climb(self, x: Tensor, grad: Tensor, length: float) -> Tensor:
        """Take the step of that length along which a linear function with this gradient rises most, in the box.

        Args:
            x: points in the box, (n, d).
            grad: gradients, (n, d).
            length: of the step, > 0; where the box is in the way the step is shorter.
        """
        return (x + length * self.steepest(grad)).clamp(0, 1)

    @abstractmethod
    def dual(self, weight: Tensor) -> Tensor:
        """Return how much a linear function with these weights rises along a unit step at most, (n,)."""

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

    def dual(self, weight: Tensor) -> Tensor:
        return weight.abs().sum(1)

    def random_direction(self, key: Tensor, size: int) -> Tensor:
        draw = 2 * randomness.uniform(key, size) - 1
        return draw / self.distance(draw).clamp_min(_TINY)[:, None]

    def to_hyperplane(self, x: Tensor, weight: Tensor, gap: Tensor) -> Tensor:
        return _box_step(x, weight, gap, torch.ones_like(weight[:, :1]))


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

    def dual(self, weight: Tensor) -> Tensor:
        return self.distance(weight)

    def random_direction(self, key: Tensor, size: int) -> Tensor:
        return self.steepest(randomness.normal(key, size))

    def to_hyperplane(self, x: Tensor, weight: Tensor, gap: Tensor) -> Tensor:
        return _box_step(x, weight, gap, weight.abs())


class L1(Norm):
    """The sum of the changes of all pixels."""

    name = "L1"

    def distance(self, delta: Tensor) -> Tensor:
        return delta.abs().sum(1)

    def project(self, delta: Tensor, epsilon: float) -> Tensor:
        return _shrink(delta, torch.full_like(delta, torch.inf), epsilon)

    def confine(self, x: Tensor, x_adv: Tensor, epsilon: float | Tensor) -> Tensor:
        """Return the closest points that lie in the box and within epsilon of the clean points, (n, d).

        Here the order would matter: what the box cuts off, other pixels can have.

        Args:
            x: clean points in the box, (n, d).
            x_adv: any points, (n, d).
            epsilon: one radius for all or one for each point, (n,).
        Source:
            Croce & Hein 2021, arXiv:2103.01208, proposition 2.1.
        """
        delta = x_adv - x
        room = torch.where(delta > 0, 1 - x, x)
        return (x + _shrink(delta, room, epsilon)).clamp(0, 1)

    def steepest(self, grad: Tensor) -> Tensor:
        largest = grad.abs().argmax(1, keepdim=True)
        return torch.zeros_like(grad).scatter(1, largest, grad.gather(1, largest).sign())

    def climb(self, x: Tensor, grad: Tensor, length: float) -> Tensor:
        # A single pixel soon meets the box, so the next steepest take what it leaves of the length.
        room = torch.where(grad > 0, 1 - x, x).double()
        order = grad.abs().argsort(dim=1, descending=True, stable=True)
        room = room.gather(1, order)
        left = (length - (room.cumsum(1) - room)).clamp_min(0)
        travel = torch.zeros_like(room).scatter(1, order, torch.minimum(left, room))
        return (x + travel.to(x.dtype) * grad.sign()).clamp(0, 1)

    def dual(self, weight: Tensor) -> Tensor:
        return weight.abs().amax(1)

    def random_direction(self, key: Tensor, size: int) -> Tensor:
        draw = randomness.normal(key, size)
        return draw / self.distance(draw).clamp_min(_TINY)[:, None]

    def to_hyperplane(self, x: Tensor, weight: Tensor, gap: Tensor) -> Tensor:
        # A pixel is worth its weight, so the heaviest go first, each to its side of the box, until the gap is closed.
        # Signs, not the product: that underflows where weight and gap are both tiny.
        upwards = weight.sign() * gap.sign()[:, None] > 0
        size, order = weight.double().abs().sort(dim=1, descending=True, stable=True)
        room = torch.where(upwards, 1 - x, x).double().gather(1, order)
        worth = size * room
        missing = gap.double().abs()[:, None] - (worth.cumsum(1) - worth)
        tiny = torch.finfo(torch.float64).tiny
        travel = torch.where(missing > 0, torch.minimum(missing / size.clamp_min(tiny), room), 0) * (size > 0)
        travel = torch.zeros_like(travel).scatter(1, order, travel).to(x.dtype)
        return torch.where(upwards, travel, -travel)


def norm_named(name: str) -> Norm:
    """Return the norm of that name.

    Raises:
        UnsupportedNorm: no attack here is defined for it.
    """
    norms: tuple[Norm, ...] = (Linf(), L2(), L1())
    for norm in norms:
        if norm.name == name:
            return norm
    raise UnsupportedNorm.because(
        "norm",
        found=name,
        expected=", ".join(norm.name for norm in norms),
        remedy="choose a threat model in one of these norms; the attacks cover them",
    )


def _shrink(delta: Tensor, room: Tensor, epsilon: float | Tensor) -> Tensor:
    """Shorten every coordinate by the same length, cut it to its room, so that the lengths left sum to epsilon.

    With the length s taken off, the sum ``clip(|delta| - s, 0, room)`` falls from piece to piece of a line: pieces end
    where a coordinate leaves its room and where it comes to nothing. So the sums at these places are added up in order,
    and a bisection finds the piece on which the sum passes epsilon.

    Args:
        delta: perturbations, (n, d).
        room: greatest length of each coordinate, (n, d); infinite where there is no bound.
        epsilon: one radius for all or one for each row, (n,).
    """
    size, room = delta.double().abs(), room.double()
    budget = torch.as_tensor(epsilon, dtype=torch.float64, device=delta.device).expand(len(delta))[:, None]
    whole = torch.minimum(size, room).sum(1, keepdim=True)
    leaves = (size - room).clamp_min(0)
    place, order = torch.cat((leaves, size), 1).sort(dim=1)
    turn = torch.cat((-torch.ones_like(size), torch.ones_like(size)), 1).gather(1, order)
    slope = turn.cumsum(1)
    run = place.diff(dim=1, append=place[:, -1:])
    # The sum at each place; the first is at the shortest length taken off, where no coordinate has lost anything yet.
    total = whole + torch.cat((torch.zeros_like(whole), (slope * run).cumsum(1)[:, :-1]), 1)
    piece = (torch.searchsorted(-total, -budget, right=True) - 1).clamp_min(0)
    excess = total.gather(1, piece) - budget
    off = place.gather(1, piece) + excess / -slope.gather(1, piece).clamp_max(-1)
    # A sum that only rounding lifts over epsilon counts as inside, so that projecting twice changes nothing.
    off = torch.where(whole <= budget * (1 + _ROUNDING), 0, off)
    length = torch.minimum((size - off).clamp_min(0), room)
    return (length * delta.sign()).to(delta.dtype)


def _box_step(x: Tensor, weight: Tensor, gap: Tensor, speed: Tensor) -> Tensor:
    """Move every coordinate at its speed towards the hyperplane until it is reached or the coordinate meets the box.

    With multiplier t the change is ``sum(|weight| * min(t * speed, room))``: concave, increasing, piecewise linear. So
    Newton's method from t = 0 climbs to the root without passing it, and ends after as many steps as pieces are met.

    Args:
        x: points in the box, (n, d).
        weight: normals of the hyperplanes, (n, d).
        gap: what is missing to them, (n,).
        speed: of every coordinate, (n, d), or one for all of a point, (n, 1).
    """
    # The step does not depend on the scale of weight and gap, so neither may the tolerances.
    tiny = torch.finfo(weight.dtype).tiny
    size = weight.abs()
    scale = size.amax(1).clamp_min(tiny)
    size, wanted = size.div_(scale[:, None]), gap.abs() / scale
    speed = speed / speed.amax(1, keepdim=True).clamp_min(tiny)
    # Signs make the way to the box without a choice: 1 - x or x.
    direction = weight.sign().mul_(gap.sign()[:, None])
    room = direction.add(1).mul_(0.5).addcmul_(direction, x, value=-1)
    t = _newton(wanted, size, speed, room)
    # Out of reach: every coordinate goes to its side of the box.
    reach = torch.where((size * room).sum(1) < wanted, torch.inf, t)[:, None] * speed.clamp_min(tiny)
    return torch.minimum(reach, room).mul_(direction)


def _newton(wanted: Tensor, size: Tensor, speed: Tensor, room: Tensor) -> Tensor:
    """Return the multiplier of `_box_step`, (n,)."""
    steepness = size * speed
    # The first step needs no sums over the ways so far, for there are none.
    slope = _positive_(room.clone()).mul_(steepness).sum(1)
    t = torch.where((slope > _LEAST_SLOPE) & (wanted > 0), wanted / slope.clamp_min(_LEAST_SLOPE), 0)
    rows, here = torch.arange(len(t), device=t.device), t
    for _ in range(_NEWTON_STEPS):
        reach = here[:, None] * speed
        short = wanted - torch.minimum(reach, room).mul_(size).sum(1)
        slope = _positive_(room - reach).mul_(steepness).sum(1)
        climbs = (short > 1e-7 * wanted) & (slope > _LEAST_SLOPE)
        step = torch.where(climbs, short / slope.clamp_min(_LEAST_SLOPE), 0)
        # A row that has arrived stays where it is, however long its neighbours take.
        step = torch.where(step > 1e-7 * here, step, 0)
        moves = torch.nonzero(step).flatten()
        if len(moves) == 0:
            break
        here = here + step
        t[rows] = here
        if len(moves) <= len(rows) // 2 and len(rows) > MIN_ROWS:
            # Most rows arrive after two or three steps; the others go on in a smaller batch.
            moves = pad_rows(moves, MIN_ROWS)
            rows, here, wanted = rows[moves], here[moves], wanted[moves]
            size, speed, room, steepness = size[moves], speed[moves], room[moves], steepness[moves]
    return t


def _positive_(values: Tensor) -> Tensor:
    """Put 1 where a value is above 0 and 0 elsewhere, in place; numbers select faster than booleans on a CPU."""
    return values.sign_().clamp_min_(0)
