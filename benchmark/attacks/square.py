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


@dataclass
class SquareSlots(Slots):
    """State of Square.

    Args:
        x_best: the example with the smallest margin so far, (n, d).
        margin: that margin, (n,).
        draws: what `Square._prepare` made of uniform numbers for the queries to come, (n, queries, k).
        drawn_at: the query of the first of them, (n,), int64.
    """

    x_best: Tensor
    margin: Tensor
    draws: Tensor
    drawn_at: Tensor


@dataclass(frozen=True)
class Windows:
    """One window in each of n images.

    Args:
        rows: 1 for each pixel row inside and 0 outside, (n, h): numbers, for on a CPU they select faster than booleans.
        columns: likewise, (n, w).
        row: each pixel row's number inside the window, counted from its upper edge, (n, h, 1).
        column: each pixel column's number inside the window, counted from its left edge, (n, 1, w).
    """

    rows: Tensor
    columns: Tensor
    row: Tensor
    column: Tensor

    @property
    def mask(self) -> Tensor:
        """1 inside and 0 outside, (n, 1, h, w)."""
        return _inside(self.rows, self.columns)


class Square(Attack[SquareSlots]):
    """Run Square: change one random window at a time and keep the change when the margin falls.

    Args:
        norm: the norm of the subclass.
        epsilon: budget in pixel units, > 0.
        image_shape: (c, h, w); need not be square.
        queries: forward passes on each point and restart, the start included.
        p_init: share of the image that the first windows cover.
        restarts: independent random starts, each with all its queries.
    Source:
        Andriushchenko et al. 2020, arXiv:1912.00049, with the schedule of AutoAttack. Differs from the reference
        implementation: every point has its own windows and signs, and windows may lie at the last position.
    """

    name = "square"
    halvings = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
    """Queries after which the share p halves."""
    ahead = 32
    """Queries for which is drawn at once."""

    def __init__(
        self,
        norm: Norm,
        epsilon: float,
        image_shape: tuple[int, int, int],
        *,
        queries: int = 5000,
        p_init: float = 0.8,
        restarts: int = 1,
    ) -> None:
        super().__init__(norm, epsilon, image_shape)
        self._queries = queries
        self._p_init = p_init
        self._restarts = restarts

    @property
    def parameters(self) -> dict[str, int | float | str | bool]:
        return {"queries": self._queries, "restarts": self._restarts, "p_init": self._p_init, "loss": "margin"}

    @property
    def restarts(self) -> int:
        return self._restarts

    @property
    def steps(self) -> int:
        return self._queries

    @cached_property
    def _bounds(self) -> Tensor:
        return torch.tensor(self.halvings)

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

    @property
    @abstractmethod
    def _numbers(self) -> int:
        """Uniform numbers that a change takes."""

    def _prepare(self, draw: Tensor, halvings: Tensor) -> Tensor:
        """Turn uniform numbers, (n, numbers), into what `_change` needs of them and of the schedule, (n, k)."""
        return torch.cat((draw, halvings[:, None]), 1)

    @abstractmethod
    def _change(self, state: SquareSlots, prepared: Tensor) -> Tensor:
        """Make the examples to try next, (n, d)."""

    def start(self, slots: Slots) -> SquareSlots:
        x_best = self._first(slots, randomness.at_step(slots.key, slots.step))
        margin = slots.x.new_full((len(slots.x),), torch.inf)
        return SquareSlots(
            **slots.tensors(), x_best=x_best, margin=margin, draws=self._draw(slots), drawn_at=slots.step.clone()
        )

    def _draw(self, slots: Slots) -> Tensor:
        """Draw for many queries at once: each draw is small, and the many small operations behind it are what costs."""
        queries = (slots.step[:, None] + torch.arange(self.ahead, device=slots.step.device)).flatten()
        keys = randomness.at_step(slots.key.repeat_interleave(self.ahead), queries)
        halvings = torch.bucketize(queries, self._bounds.to(queries.device), right=False)
        prepared = self._prepare(randomness.uniform(keys, self._numbers), halvings)
        return prepared.view(len(slots.step), self.ahead, -1)

    def step(self, state: SquareSlots, classifier: Classifier, live: int) -> Proposal:
        ahead = state.step - state.drawn_at
        # One look at all of them: on a CPU each operation costs more than the numbers.
        waited = ahead.tolist()
        if max(waited) >= self.ahead:
            state.draws, state.drawn_at = self._draw(state), state.step.clone()
            ahead = torch.zeros_like(ahead)
        candidate = self._change(state, state.draws[torch.arange(len(ahead), device=ahead.device), ahead])
        if min(waited) == 0:
            # The first query is the start itself.
            first = torch.nonzero(state.step == 0).flatten()
            candidate[first] = state.x_best[first]
        logits = classifier.logits(candidate, live)
        margin = losses.margin(logits, state.y)
        # The comparison is false for NaN and fmin passes over it, so an unusable answer is never kept as the best.
        better = margin < state.margin
        state.x_best = torch.lerp(state.x_best, candidate, better.to(candidate.dtype)[:, None])
        state.margin = torch.fmin(state.margin, margin)
        state.step = state.step + 1
        return Proposal(candidate, misclassified(logits, state.y), state.step == self._queries)

    def _windows(self, draw: Tensor, side: Tensor) -> Windows:
        """Place one window for each point.

        Args:
            draw: uniform numbers for row and column, (n, 2).
            side: sides, (n,).
        """
        _, height, width = self.image_shape
        extent = torch.tensor([height, width], device=draw.device)
        corner = (draw * (extent - side[:, None] + 1)).long()
        row = torch.arange(height, device=draw.device) - corner[:, :1]
        column = torch.arange(width, device=draw.device) - corner[:, 1:]
        limit = side[:, None]
        rows = ((row >= 0) & (row < limit)).to(draw.dtype)
        columns = ((column >= 0) & (column < limit)).to(draw.dtype)
        return Windows(rows, columns, row[:, :, None], column[:, None, :])


class SquareLinf(Square):
    """Square in Linf: windows of ±epsilon, one sign for each channel, after a start of vertical stripes."""

    def _side(self, side: int) -> int:
        return min(max(side, 1), *self.image_shape[1:])

    def _first(self, slots: Slots, key: Tensor) -> Tensor:
        channels, height, width = self.image_shape
        stripes = randomness.signs(randomness.uniform(key, channels * width)).view(-1, channels, 1, width)
        delta = self.epsilon * stripes.expand(-1, -1, height, -1)
        return (slots.x + delta.flatten(1)).clamp(0, 1)

    @property
    def _numbers(self) -> int:
        return 2 + self.image_shape[0]

    def _prepare(self, draw: Tensor, halvings: Tensor) -> Tensor:
        """Return rows and columns of the window as masks, and the change of each channel, (n, h + w + c)."""
        windows = self._windows(draw[:, :2], self.sides.to(draw.device)[halvings])
        change = self.epsilon * randomness.signs(draw[:, 2:])
        return torch.cat((windows.rows, windows.columns, change), 1)

    def _change(self, state: SquareSlots, prepared: Tensor) -> Tensor:
        channels, height, width = self.image_shape
        rows, columns, change = prepared.split((height, width, channels), 1)
        mask = _inside(rows, columns)
        # A step of ±2 epsilon, clipped to the ball and the box, always ends here, wherever it began.
        moved = state.x.view(-1, channels, height, width).add(change.reshape(-1, channels, 1, 1)).clamp_(0, 1)
        return torch.lerp(state.x_best.view_as(moved), moved, mask).flatten(1)


def _inside(rows: Tensor, columns: Tensor) -> Tensor:
    """Return windows as masks, (n, 1, h, w), from the masks of their rows, (n, h), and columns, (n, w)."""
    n = len(rows)
    return rows.view(n, 1, -1, 1) * columns.view(n, 1, 1, -1)
