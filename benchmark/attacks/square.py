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
    """State of Square: the example with the smallest margin so far, (n, d), and that margin, (n,)."""

    x_best: Tensor
    margin: Tensor


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
