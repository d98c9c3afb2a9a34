"""Pictures to corrupt, the same bytes everywhere, and what became of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def images(n: int, shape: tuple[int, int, int]) -> Tensor:
    """Pictures with an edge, a slope and a texture, made of whole numbers alone: the same bytes everywhere."""
    channels, height, width = shape
    point, channel = torch.arange(n)[:, None, None, None], torch.arange(channels)[:, None, None]
    row, column = torch.arange(height)[:, None], torch.arange(width)
    inside = (row - height // 2) ** 2 + (column - width // 3 - point) ** 2 < (min(height, width) // 3) ** 2
    slope = 100 * row // height + 60 * column // width + 20 * channel
    texture = (7 * row + 13 * column * (point + 1) + 5 * row * column) % 23
    return (slope + texture + 50 * inside).clamp(0, 255).to(torch.float32) / 255


def plain(level: int, shape: Sequence[int]) -> Tensor:
    return torch.full(tuple(shape), level, dtype=torch.float32) / 255


def levels(x: Tensor) -> Tensor:
    return (x.double() * 255).round().to(torch.int64)
