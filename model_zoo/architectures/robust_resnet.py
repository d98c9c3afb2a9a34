"""Pre-activation residual networks of three groups, each of its own depth and width."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.architectures.normalization import normalization as named


class _Block(nn.Module):
    """Two convolutions, each with BatchNorm and SiLU before it; a projecting shortcut sees what the first are given."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv1 = nn.Conv2d(inner, outer, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outer)
        self.conv2 = nn.Conv2d(outer, outer, 3, padding=1, bias=False)
        same = inner == outer and stride == 1
        self.shortcut = None if same else nn.Sequential(nn.Conv2d(inner, outer, 1, stride=stride, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        active = F.silu(self.bn1(x))
        change: Tensor = self.conv2(F.silu(self.bn2(self.conv1(active))))
        return change + (x if self.shortcut is None else self.shortcut(active))


class _Group(nn.Module):
    def __init__(self, inner: int, outer: int, blocks: int, stride: int) -> None:
        super().__init__()
        self.layer = nn.Sequential(_Block(inner, outer, stride), *(_Block(outer, outer, 1) for _ in range(blocks - 1)))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)  # type: ignore[no-any-return]


class RobustResNet(nn.Module):
    """A pre-activation residual network with SiLU, with the names of parameters that published checkpoints have.

    Args:
        classes: number of classes.
        channels: of the first convolution and of each group.
        blocks: of each group.
        normalization: what happens to the images first, see `NORMALIZATIONS`.
    Source:
        Huang et al. 2022, arXiv:2212.11005.
    """

    def __init__(self, classes: int, channels: Sequence[int], blocks: Sequence[int], normalization: str) -> None:
        super().__init__()
        self.normalization = named(normalization)
        self.stem_conv = nn.Conv2d(3, channels[0], 3, padding=1, bias=False)
        groups = (_Group(channels[i], channels[i + 1], count, 1 if i == 0 else 2) for i, count in enumerate(blocks))
        self.blocks = nn.Sequential(*groups)
        self.norm1 = nn.BatchNorm2d(channels[-1])
        self.fc = nn.Linear(channels[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.stem_conv(self.normalization(x)))
        return self.fc(F.silu(self.norm1(x)).mean((2, 3)))  # type: ignore[no-any-return]
