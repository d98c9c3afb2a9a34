"""What is done to training images before they are trained upon."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

MARGIN = 4
"""Pixels by which images of 32×32 are shifted at most: He et al. 2016, arXiv:1512.03385, section 4.2."""


def shifted(x: Tensor, margin: int, mirrored: bool, generator: torch.Generator) -> Tensor:
    """Shift images at random, zeros filling the edges, and mirror half of them where that is asked for.

    Args:
        x: square images, (n, c, h, h).
        margin: pixels by which they are shifted at most, in both directions.
        mirrored: whether to mirror.
        generator: source of the shifts.
    Returns:
        Images of the same shape, channels next to each other in memory.
    """
    n, size = len(x), x.shape[-1]
    padded = F.pad(x, [margin] * 4)
    offset = torch.randint(2 * margin + 1, (2, n, 1), generator=generator) + torch.arange(size)
    columns = offset[1]
    if mirrored:
        columns = torch.where(torch.rand(n, 1, generator=generator) < 0.5, columns.flip(1), columns)
    rows = torch.arange(n)[:, None, None]
    moved = padded.permute(0, 2, 3, 1)[rows, offset[0][:, :, None], columns[:, None, :]]
    # The result keeps the memory layout that it was gathered in, the faster one for convolutions.
    return moved.permute(0, 3, 1, 2)
