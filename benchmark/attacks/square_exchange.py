"""Square in L2 and L1: windows exchange the length that the budget allows them together."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property

import torch
from torch import Tensor

from benchmark import randomness
from benchmark.attacks.base import Slots
from benchmark.attacks.square import Square, SquareSlots, Windows

_TINY = 1e-12


class SquareExchange(Square):
    """Square for a norm that sums over pixels: a window takes over the length that another, and clipping, had left.

    Source:
        Andriushchenko et al. 2020, arXiv:1912.00049, algorithm 3.
    """

    order: int
    """Of the norm: 2 or 1."""

    @abstractmethod
    def _available(self, delta: Tensor, windows: Tensor) -> Tensor:
        """Return the length that each channel of the new window may have, (n, c, 1, 1).

        Args:
            delta: present perturbations, (n, c, h, w).
            windows: mask of both windows, (n, 1, h, w).
        """

    @abstractmethod
    def _permitted(self, x: Tensor, delta: Tensor) -> Tensor:
        """Bring perturbations within the budget and the box, (n, d)."""

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
            table[row, :side, :side] = _bump(side, self.order)
        return table

    def _first(self, slots: Slots, key: Tensor) -> Tensor:
        channels, height, width = self.image_shape
        tile = max(min(height, width) // 5, 1)
        rows, columns = height // tile, width // tile
        signed = channels * rows * columns
        draw = randomness.uniform(key, signed + rows * columns)
        sign = randomness.signs(draw[:, :signed]).view(-1, channels, rows, 1, columns, 1)
        upright = (draw[:, signed:] < 0.5).view(-1, 1, rows, 1, columns, 1)
        bump = _bump(tile, self.order).to(slots.x.device)
        # A random half of the tiles lies on its side, in all channels alike, as the windows do that follow.
        tiles = sign * torch.where(upright, bump[:, None, :], bump.T[:, None, :])
        delta = slots.x.new_zeros(len(slots.x), channels, height, width)
        top, left = (height - rows * tile) // 2, (width - columns * tile) // 2
        delta[:, :, top : top + rows * tile, left : left + columns * tile] = tiles.reshape(
            -1, channels, rows * tile, columns * tile
        )
        return self._permitted(slots.x, delta.flatten(1))

    @property
    def _numbers(self) -> int:
        return 5 + self.image_shape[0]

    def _change(self, state: SquareSlots, prepared: Tensor) -> Tensor:
        delta = self.exchange(state.x, state.x_best, prepared[:, :-1], prepared[:, -1].long())
        return self._permitted(state.x, delta)

    def exchange(self, x: Tensor, x_best: Tensor, draw: Tensor, halvings: Tensor) -> Tensor:
        """Return new perturbations, in L2 of length epsilon, not yet brought into the box, (n, d).

        Window 2 is emptied before window 1 is written, for the two may overlap.

        Source:
            Andriushchenko et al. 2020, arXiv:1912.00049, algorithm 3 and proposition A.1.
        """
        channels, height, width = self.image_shape
        side = self.sides.to(draw.device)[halvings]
        window = self._windows(draw[:, :2], side)
        one, two = window.mask, self._windows(draw[:, 2:4], side).mask
        delta = (x_best - x).view(-1, channels, height, width)
        bump = self._placed(halvings, window, draw[:, 4] < 0.5) * one
        sign = randomness.signs(draw[:, 5:])[:, :, None, None]
        old = delta * one
        fresh = sign * bump + old / self._length(old).clamp_min(_TINY)
        written = self._available(delta, torch.maximum(one, two)) * fresh / self._length(fresh).clamp_min(_TINY)
        return torch.lerp(delta * (1 - two), written, one).flatten(1)

    @abstractmethod
    def _length(self, image: Tensor) -> Tensor:
        """Return the length of each channel, (n, c, 1, 1)."""

    def _placed(self, halvings: Tensor, window: Windows, transpose: Tensor) -> Tensor:
        """Return the bump of each point's size at its window, a random half of them transposed, (n, 1, h, w)."""
        table = self._bumps.to(halvings.device)
        last = table.shape[-1] - 1
        row, column = window.row.clamp(0, last), window.column.clamp(0, last)
        row, column = row.expand(-1, -1, column.shape[2]), column.expand(-1, row.shape[1], -1)
        flip = transpose[:, None, None]
        picked = table[halvings[:, None, None], torch.where(flip, column, row), torch.where(flip, row, column)]
        return picked[:, None]


class SquareL2(SquareExchange):
    """Square in L2: every candidate has length epsilon before it is clipped to the box."""

    order = 2

    def _available(self, delta: Tensor, windows: Tensor) -> Tensor:
        unused = (self.epsilon**2 - (delta**2).sum((1, 2, 3), keepdim=True)).clamp_min(0) / delta.shape[1]
        return torch.sqrt((delta**2 * windows).sum((2, 3), keepdim=True) + unused)

    def _length(self, image: Tensor) -> Tensor:
        return torch.sqrt((image**2).sum((2, 3), keepdim=True))

    def _permitted(self, x: Tensor, delta: Tensor) -> Tensor:
        return (x + self.epsilon * self.norm.steepest(delta)).clamp(0, 1)


class SquareL1(SquareExchange):
    """Square in L1: windows exchange L1 length, and the closest permitted perturbation is tried.

    Source:
        Croce & Hein 2021, arXiv:2103.01208, section 5: the search of L2 with L1 lengths, bumps that fall off faster, a
        window that may take the length of all channels at once, and a projection in place of the rescaling.
    """

    order = 1

    def _available(self, delta: Tensor, windows: Tensor) -> Tensor:
        unused = (self.epsilon - delta.abs().sum((1, 2, 3), keepdim=True)).clamp_min(0)
        return delta.shape[1] * (delta.abs() * windows).sum((2, 3), keepdim=True) + unused

    def _length(self, image: Tensor) -> Tensor:
        return image.abs().sum((2, 3), keepdim=True)

    def _permitted(self, x: Tensor, delta: Tensor) -> Tensor:
        return self.norm.confine(x, x + delta, self.epsilon)


def _bump(side: int, order: int) -> Tensor:
    """Return two stacked pyramids of opposite sign, of unit length together, (side, side)."""
    upper = side // 2
    return _unit(torch.cat((_pyramid(upper, side, order), -_pyramid(side - upper, side, order))), order)


def _pyramid(height: int, width: int, order: int) -> Tensor:
    """Return a unit-length pyramid of rings whose height grows towards the centre, (height, width).

    Source:
        Andriushchenko et al. 2020, arXiv:1912.00049, equation 2, for L2; in L1 the rings grow with the fourth power, as
        in the reference implementation.
    """
    rings = max(height, width) // 2 + 1
    row = (torch.arange(height) - height // 2).abs()
    column = (torch.arange(width) - width // 2).abs()
    ring = torch.maximum(row[:, None], column[None, :]).clamp_max(rings - 1)
    terms = 1 / torch.arange(1, rings + 1, dtype=torch.float32) ** {1: 4, 2: 2}[order]
    from_ring = terms.flip(0).cumsum(0).flip(0)
    return _unit(from_ring[ring], order)


def _unit(window: Tensor, order: int) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(window, order)
    return window / length.clamp_min(_TINY)
