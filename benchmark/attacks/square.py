"""The Square attack: random search with squares, without gradients."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from benchmark import losses, randomness
from benchmark.attacks.base import Attack, Proposal, Slots
from benchmark.classifier import Classifier
from benchmark.judging import misclassified
from benchmark.norms import Norm

_TINY = 1e-12


@dataclass
class SquareSlots(Slots):
    """State of Square: the example with the smallest margin so far, (n, d), and that margin, (n,)."""

    x_best: Tensor
    margin: Tensor


class Square(Attack[SquareSlots]):
    """Run Square: change one random window at a time and keep the change when the margin falls.

    Args:
        norm: the norm of the subclass.
        epsilon: budget in pixel units, > 0.
        image_shape: (c, h, w); need not be square.
        queries: forward passes on each point, the start included.
        p_init: share of the image that the first windows cover.
    Source:
        Andriushchenko et al. 2020, arXiv:1912.00049, with the schedule of AutoAttack. Differs from the reference
        implementation: every point has its own windows and signs, and windows may lie at the last position.
    """

    name = "square"
    halvings = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
    """Queries after which the share p halves."""

    def __init__(
        self,
        norm: Norm,
        epsilon: float,
        image_shape: tuple[int, int, int],
        *,
        queries: int = 5000,
        p_init: float = 0.8,
    ) -> None:
        super().__init__(norm, epsilon, image_shape)
        self._queries = queries
        self._p_init = p_init

    @property
    def parameters(self) -> dict[str, int | float | str | bool]:
        return {"queries": self._queries, "restarts": 1, "p_init": self._p_init, "loss": "margin"}

    @property
    def steps(self) -> int:
        return self._queries

    @cached_property
    def sides(self) -> Tensor:
        """Side of the window by number of halvings done, (len(halvings) + 1,)."""
        _, height, width = self.image_shape
        shares = [self._p_init / 2**k for k in range(len(self.halvings) + 1)]
        return torch.tensor([self._side(round(math.sqrt(share * height * width))) for share in shares])

    @abstractmethod
    def _side(self, side: int) -> int:
        """Return the permitted side closest to the wanted one."""

    @abstractmethod
    def _first(self, slots: Slots, key: Tensor) -> Tensor:
        """Draw the examples to start from, (n, d)."""

    @abstractmethod
    def _change(self, state: SquareSlots, key: Tensor, halvings: Tensor) -> Tensor:
        """Draw the examples to try next, (n, d)."""

    def start(self, slots: Slots) -> SquareSlots:
        x_best = self._first(slots, randomness.at_step(slots.key, slots.step))
        return SquareSlots(**slots.tensors(), x_best=x_best, margin=slots.x.new_full((len(slots.x),), torch.inf))

    def step(self, state: SquareSlots, classifier: Classifier, live: int) -> Proposal:
        first = state.step == 0
        bounds = torch.tensor(self.halvings, device=state.step.device)
        halvings = torch.bucketize(state.step, bounds, right=False)
        candidate = self._change(state, randomness.at_step(state.key, state.step), halvings)
        candidate = torch.where(first[:, None], state.x_best, candidate)
        logits = classifier.logits(candidate, live)
        margin = losses.margin(logits, state.y)
        # The comparison is false for NaN, so an unusable answer is never kept as the best.
        better = margin < state.margin
        state.x_best = torch.where(better[:, None], candidate, state.x_best)
        state.margin = torch.where(better, margin, state.margin)
        state.step = state.step + 1
        return Proposal(candidate, misclassified(logits, state.y), state.step == self._queries)

    def _windows(self, draw: Tensor, side: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Place one window for each point.

        Args:
            draw: uniform numbers for row and column, (n, 2).
            side: sides, (n,).
        Returns:
            Mask of the window, (n, 1, h, w), and each pixel's row and column inside it, (n, h, 1) and (n, 1, w).
        """
        _, height, width = self.image_shape
        top = (draw[:, 0] * (height - side + 1)).long()
        left = (draw[:, 1] * (width - side + 1)).long()
        row = (torch.arange(height, device=draw.device) - top[:, None])[:, :, None]
        column = (torch.arange(width, device=draw.device) - left[:, None])[:, None, :]
        limit = side[:, None, None]
        mask = (row >= 0) & (row < limit) & (column >= 0) & (column < limit)
        return mask[:, None], row, column


class SquareLinf(Square):
    """Square in Linf: windows of ±epsilon, one sign for each channel, after a start of vertical stripes."""

    def _side(self, side: int) -> int:
        return min(max(side, 1), *self.image_shape[1:])

    def _first(self, slots: Slots, key: Tensor) -> Tensor:
        channels, height, width = self.image_shape
        stripes = randomness.signs(randomness.uniform(key, channels * width)).view(-1, channels, 1, width)
        delta = self.epsilon * stripes.expand(-1, -1, height, -1)
        return (slots.x + delta.flatten(1)).clamp(0, 1)

    def _change(self, state: SquareSlots, key: Tensor, halvings: Tensor) -> Tensor:
        channels, height, width = self.image_shape
        draw = randomness.uniform(key, 2 + channels)
        mask, _, _ = self._windows(draw[:, :2], self.sides.to(key.device)[halvings])
        sign = randomness.signs(draw[:, 2:])[:, :, None, None]
        # A step of ±2 epsilon, clipped to the ball and the box, always ends here, wherever it began.
        moved = (state.x.view(-1, channels, height, width) + self.epsilon * sign).clamp(0, 1)
        return torch.where(mask, moved, state.x_best.view_as(moved)).flatten(1)


class SquareL2(Square):
    """Square in L2: a window takes over the length that another window, and clipping, had left."""

    def _side(self, side: int) -> int:
        largest = min(self.image_shape[1:])
        side = max(side, 3)
        side += 1 - side % 2
        return min(side, largest - 1 + largest % 2) if largest >= 3 else largest

    @cached_property
    def _bumps(self) -> Tensor:
        """Unit-length bumps by number of halvings, in a corner of an empty square, (halvings + 1, s, s)."""
        largest = int(self.sides.max())
        table = torch.zeros(len(self.sides), largest, largest)
        for row, side in enumerate(self.sides.tolist()):
            table[row, :side, :side] = _bump(side)
        return table

    def _first(self, slots: Slots, key: Tensor) -> Tensor:
        channels, height, width = self.image_shape
        tile = max(min(height, width) // 5, 1)
        rows, columns = height // tile, width // tile
        draw = randomness.signs(randomness.uniform(key, channels * rows * columns))
        bump = _bump(tile).to(slots.x.device)
        tiles = draw.view(-1, channels, rows, 1, columns, 1) * bump[None, None, None, :, None, :]
        delta = slots.x.new_zeros(len(slots.x), channels, height, width)
        top, left = (height - rows * tile) // 2, (width - columns * tile) // 2
        delta[:, :, top : top + rows * tile, left : left + columns * tile] = tiles.reshape(
            -1, channels, rows * tile, columns * tile
        )
        return self._at_radius(slots.x, delta.flatten(1))

    def _change(self, state: SquareSlots, key: Tensor, halvings: Tensor) -> Tensor:
        delta = self.exchange(state.x, state.x_best, key, halvings)
        return self._at_radius(state.x, delta)

    def exchange(self, x: Tensor, x_best: Tensor, key: Tensor, halvings: Tensor) -> Tensor:
        """Return new perturbations of length epsilon, not yet clipped to the box, (n, d).

        Window 2 is emptied before window 1 is written, for the two may overlap.

        Source:
            Andriushchenko et al. 2020, arXiv:1912.00049, algorithm 3 and proposition A.1.
        """
        channels, height, width = self.image_shape
        draw = randomness.uniform(key, 5 + channels)
        side = self.sides.to(key.device)[halvings]
        one, row, column = self._windows(draw[:, :2], side)
        two, _, _ = self._windows(draw[:, 2:4], side)
        delta = (x_best - x).view(-1, channels, height, width)
        bump = self._placed(halvings, row, column, draw[:, 4] < 0.5) * one
        sign = randomness.signs(draw[:, 5:])[:, :, None, None]
        old = delta * one
        fresh = sign * bump + old / _length(old).clamp_min(_TINY)
        unused = (self.epsilon**2 - (delta**2).sum((1, 2, 3), keepdim=True)).clamp_min(0) / channels
        available = torch.sqrt((delta**2 * (one | two)).sum((2, 3), keepdim=True) + unused)
        written = available * fresh / _length(fresh).clamp_min(_TINY)
        return torch.where(one, written, torch.where(two, 0.0, delta)).flatten(1)

    def _placed(self, halvings: Tensor, row: Tensor, column: Tensor, transpose: Tensor) -> Tensor:
        """Return the bump of each point's size at its window, a random half of them transposed, (n, 1, h, w)."""
        table = self._bumps.to(halvings.device)
        last = table.shape[-1] - 1
        row, column = row.clamp(0, last), column.clamp(0, last)
        row, column = row.expand(-1, -1, column.shape[2]), column.expand(-1, row.shape[1], -1)
        flip = transpose[:, None, None]
        picked = table[halvings[:, None, None], torch.where(flip, column, row), torch.where(flip, row, column)]
        return picked[:, None]

    def _at_radius(self, x: Tensor, delta: Tensor) -> Tensor:
        return (x + self.epsilon * self.norm.steepest(delta)).clamp(0, 1)


def _length(image: Tensor) -> Tensor:
    return torch.sqrt((image**2).sum((2, 3), keepdim=True))


def _bump(side: int) -> Tensor:
    """Return two stacked pyramids of opposite sign, of unit length together, (side, side)."""
    upper = side // 2
    return _unit(torch.cat((_pyramid(upper, side), -_pyramid(side - upper, side))))


def _pyramid(height: int, width: int) -> Tensor:
    """Return a unit-length pyramid of rings whose height grows towards the centre, (height, width).

    Source:
        Andriushchenko et al. 2020, arXiv:1912.00049, equation 2.
    """
    rings = max(height, width) // 2 + 1
    row = (torch.arange(height) - height // 2).abs()
    column = (torch.arange(width) - width // 2).abs()
    ring = torch.maximum(row[:, None], column[None, :]).clamp_max(rings - 1)
    terms = 1 / torch.arange(1, rings + 1, dtype=torch.float32) ** 2
    from_ring = terms.flip(0).cumsum(0).flip(0)
    return _unit(from_ring[ring])


def _unit(window: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(window)
    return window / length.clamp_min(_TINY)


def square(norm: Norm, epsilon: float, image_shape: tuple[int, int, int]) -> Square:
    """Return Square for the norm; the two searches differ in kind, not in geometry."""
    searches: dict[str, type[Square]] = {"Linf": SquareLinf, "L2": SquareL2}
    return searches[norm.name](norm, epsilon, image_shape)
