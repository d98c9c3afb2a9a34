"""A residual network with grouped convolutions for 32×32 images."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.architectures.normalization import normalization as named


class _Block(nn.Module):
    """A grouped 3×3 convolution between two of 1×1, each with BatchNorm after it."""

    def __init__(self, inner: int, planes: int, stride: int, groups: int, base_width: int) -> None:
        super().__init__()
        middle = groups * (planes * base_width // 64)
        self.conv_reduce = nn.Conv2d(inner, middle, 1, bias=False)
        self.bn_reduce = nn.BatchNorm2d(middle)
        self.conv_conv = nn.Conv2d(middle, middle, 3, stride=stride, padding=1, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(middle)
        self.conv_expand = nn.Conv2d(middle, 4 * planes, 1, bias=False)
        self.bn_expand = nn.BatchNorm2d(4 * planes)
        self.downsample: nn.Sequential | None = None
        if inner != 4 * planes or stride != 1:
            projection = nn.Conv2d(inner, 4 * planes, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(4 * planes))

    def forward(self, x: Tensor) -> Tensor:
        change = F.relu(self.bn_reduce(self.conv_reduce(x)))
        change = F.relu(self.bn(self.conv_conv(change)))
        kept = x if self.downsample is None else self.downsample(x)
        return F.relu(kept + self.bn_expand(self.conv_expand(change)))


class ResNeXt(nn.Module):
    """ResNeXt-29, with the names of parameters that published checkpoints have.

    Args:
        classes: number of classes.
        groups: of each 3×3 convolution.
        base_width: channels of each group in the first stage, twice as many in the next.
        normalization: what happens to the images first, see `NORMALIZATIONS`.
    Source:
        Xie et al. 2017, arXiv:1611.05431.
    """

    def __init__(self, classes: int, groups: int, base_width: int, normalization: str) -> None:
        super().__init__()

        def stage(inner: int, planes: int, stride: int) -> nn.Sequential:
            later = (_Block(4 * planes, planes, 1, groups, base_width) for _ in range(2))
            return nn.Sequential(_Block(inner, planes, stride, groups, base_width), *later)

        self.normalization = named(normalization)
        self.conv_1_3x3 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.bn_1 = nn.BatchNorm2d(64)
        self.stage_1 = stage(64, 64, 1)
        self.stage_2 = stage(256, 128, 2)
        self.stage_3 = stage(512, 256, 2)
        self.classifier = nn.Linear(1024, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn_1(self.conv_1_3x3(self.normalization(x))))
        x = self.stage_3(self.stage_2(self.stage_1(x)))
        return self.classifier(x.mean((2, 3)))  # type: ignore[no-any-return]
