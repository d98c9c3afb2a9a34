"""Wide residual networks for 32×32 images, as most defences on CIFAR use them."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.architectures.normalization import normalization as named


class _Block(nn.Module):
    """Two normalised convolutions added to a shortcut; where the width changes, that too begins normalised."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv1 = nn.Conv2d(inner, outer, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outer)
        self.conv2 = nn.Conv2d(outer, outer, 3, padding=1, bias=False)
        self.convShortcut = None if inner == outer else nn.Conv2d(inner, outer, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.bn1(x))
        change: Tensor = self.conv2(F.relu(self.bn2(self.conv1(active))))
        return change + (x if self.convShortcut is None else self.convShortcut(active))


class _Group(nn.Module):
    def __init__(self, inner: int, outer: int, blocks: int, stride: int) -> None:
        super().__init__()
        first = _Block(inner, outer, stride)
        self.layer = nn.Sequential(first, *(_Block(outer, outer, 1) for _ in range(blocks - 1)))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)  # type: ignore[no-any-return]


class WideResNet(nn.Module):
    """WRN-depth-width, with the names of parameters that published checkpoints have.

    Args:
        classes: number of classes.
        depth: 4 + 6 times the blocks of each of three groups.
        width: factor of the channels, which are 16, 32 and 64 times that.
        normalization: what happens to the images first, see `NORMALIZATIONS`.
        unit_norm: whether features and the rows of the last layer are brought to length 1, and that has no bias.
    Source:
        Zagoruyko & Komodakis 2016, arXiv:1605.07146; unit norms as in Pang et al. 2020, arXiv:2002.08619.
    """

    def __init__(
        self, classes: int, depth: int, width: int, normalization: str = "none", *, unit_norm: bool = False
    ) -> None:
        super().__init__()
        blocks, channels = (depth - 4) // 6, [16, 16 * width, 32 * width, 64 * width]
        self.normalization = named(normalization)
        self.conv1 = nn.Conv2d(3, channels[0], 3, padding=1, bias=False)
        self.block1 = _Group(channels[0], channels[1], blocks, stride=1)
        self.block2 = _Group(channels[1], channels[2], blocks, stride=2)
        self.block3 = _Group(channels[2], channels[3], blocks, stride=2)
        self.bn1 = nn.BatchNorm2d(channels[3])
        self.fc = nn.Linear(channels[3], classes, bias=not unit_norm)
        self.unit_norm = unit_norm

    def forward(self, x: Tensor) -> Tensor:
        x = self.block3(self.block2(self.block1(self.conv1(self.normalization(x)))))
        features = F.relu(self.bn1(x)).mean((2, 3))
        if self.unit_norm:
            return F.linear(F.normalize(features), F.normalize(self.fc.weight))
        return self.fc(features)  # type: ignore[no-any-return]
