"""WideResNet, the network most robust models of CIFAR-10 have."""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn


class _Block(nn.Module):
    """Two convolutions, each behind a normalisation and ReLU, added to what came in."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(inner), nn.BatchNorm2d(outer)
        self.conv1 = nn.Conv2d(inner, outer, 3, stride=stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(outer, outer, 3, padding=1, bias=False)
        self.shortcut = None if inner == outer else nn.Conv2d(inner, outer, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.norm1(x))
        change: Tensor = self.conv2(F.relu(self.norm2(self.conv1(active))))
        return change + (x if self.shortcut is None else self.shortcut(active))


class WideResNet(nn.Module):
    """WideResNet for 32×32 colour images.

    Args:
        depth: 6n + 4 convolutions.
        widening: factor on the 16, 32 and 64 channels of the stages.
        classes: number of logits.
    Source:
        Zagoruyko & Komodakis 2016, arXiv:1605.07146.
    """

    def __init__(self, depth: int = 28, widening: int = 10, classes: int = 10) -> None:
        super().__init__()
        widths = [16, *(base * widening for base in (16, 32, 64))]
        self.stem = nn.Conv2d(3, widths[0], 3, padding=1, bias=False)
        blocks: list[nn.Module] = []
        for stage, (inner, outer) in enumerate(pairwise(widths)):
            for number in range((depth - 4) // 6):
                first = number == 0
                blocks.append(_Block(inner if first else outer, outer, 2 if first and stage > 0 else 1))
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.BatchNorm2d(widths[-1])
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        features = F.relu(self.norm(self.blocks(self.stem(x))))
        logits: Tensor = self.head(features.mean((2, 3)))
        return logits
