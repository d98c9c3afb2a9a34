"""A small pre-activation residual network with BatchNorm for 8×8 grey images."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class _Block(nn.Module):
    """Two normalised convolutions added to a shortcut, which is a 1×1 convolution where the shape changes.

    Source:
        He et al. 2016, Identity Mappings in Deep Residual Networks, arXiv:1603.05027.
    """

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inner)
        self.conv1 = nn.Conv2d(inner, outer, 3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outer)
        self.conv2 = nn.Conv2d(outer, outer, 3, padding=1, bias=False)
        same = inner == outer and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(inner, outer, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.norm1(x))
        change = self.conv2(F.relu(self.norm2(self.conv1(active))))
        total: Tensor = self.shortcut(x) + change
        return total


class DigitsResNet(nn.Module):
    """A stem, two residual blocks and a linear layer: 137 thousand multiplications per image at width 8.

    Args:
        classes: number of classes.
        width: channels of the stem; the blocks have twice as many.
    """

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1, bias=False)
        self.block1 = _Block(width, 2 * width, stride=2)
        self.block2 = _Block(2 * width, 2 * width, stride=1)
        self.norm = nn.BatchNorm2d(2 * width)
        self.head = nn.Linear(2 * width * 4 * 4, classes)

    def forward(self, x: Tensor) -> Tensor:
        features = F.relu(self.norm(self.block2(self.block1(self.stem(x)))))
        logits: Tensor = self.head(features.flatten(1))
        return logits
