"""Squeeze-and-excitation: channels scaled by what the whole feature map has in them."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class SqueezeExcitation(nn.Module):
    """Scale each channel of a feature map by a number between 0 and 1 that depends on the means of all.

    Args:
        channels: number of channels.
        squeezed: number of features in between.
    Source:
        Hu et al. 2018, arXiv:1709.01507.
    """

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        scales = self.fc2(F.relu(self.fc1(x.mean((2, 3), keepdim=True)))).sigmoid()
        return x * scales  # type: ignore[no-any-return]
