"""ResNeSt for 32×32 images: residual networks whose 3×3 convolutions are split, and weighed against each other."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.architectures.normalization import normalization as named

_SPLITS = 4
_BLOCKS = {152: (3, 8, 36, 3)}


class _SplitAttention(nn.Module):
    """A 3×3 convolution that gives each channel several times; a weighted sum of these."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, _SPLITS * channels, 3, padding=1, groups=_SPLITS, bias=False)
        self.bn0 = nn.BatchNorm2d(_SPLITS * channels)
        middle = max(channels * _SPLITS // 4, 32)
        self.fc1 = nn.Conv2d(channels, middle, 1)
        self.bn1 = nn.BatchNorm2d(middle)
        self.fc2 = nn.Conv2d(middle, _SPLITS * channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        splits = F.silu(self.bn0(self.conv(x))).unflatten(1, (_SPLITS, -1))
        means = splits.sum(1).mean((2, 3), keepdim=True)
        weights = self.fc2(F.silu(self.bn1(self.fc1(means)))).unflatten(1, (_SPLITS, -1)).softmax(1)
        return (weights * splits).sum(1)  # type: ignore[no-any-return]


class _Bottleneck(nn.Module):
    """Split attention between two 1×1 convolutions; an average over 3×3 places leaves out every second of them."""

    def __init__(self, inner: int, planes: int, stride: int, *, averaged: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inner, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = _SplitAttention(planes)
        self.average = nn.AvgPool2d(3, stride, padding=1) if averaged else nn.Identity()
        self.conv3 = nn.Conv2d(planes, 4 * planes, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * planes)
        self.downsample: nn.Sequential | None = None
        if inner != 4 * planes or stride != 1:
            projection = nn.Conv2d(inner, 4 * planes, 1, bias=False)
            self.downsample = nn.Sequential(nn.AvgPool2d(stride), projection, nn.BatchNorm2d(4 * planes))

    def forward(self, x: Tensor) -> Tensor:
        change = F.silu(self.bn1(self.conv1(x)))
        change = self.bn3(self.conv3(self.average(self.conv2(change))))
        return F.silu(change + (x if self.downsample is None else self.downsample(x)))


class ResNeSt(nn.Module):
    """ResNeSt with SiLU, a stem of three convolutions and no pooling after it, with the names of published checkpoints.

    Args:
        classes: number of classes.
        depth: 152.
        normalization: what happens to the images first, see `NORMALIZATIONS`.
    Source:
        Zhang et al. 2020, arXiv:2004.08955.
    """

    def __init__(self, classes: int, depth: int, normalization: str = "none") -> None:
        super().__init__()
        self.normalization = named(normalization)
        self.conv1 = nn.Sequential(
            nn.Conv2d(3, 64, 3, padding=1, bias=False),
            nn.BatchNorm2d(64),
            nn.SiLU(),
            nn.Conv2d(64, 64, 3, padding=1, bias=False),
            nn.BatchNorm2d(64),
            nn.SiLU(),
            nn.Conv2d(64, 128, 3, padding=1, bias=False),
        )
        self.bn1 = nn.BatchNorm2d(128)
        stages = []
        inner = 128
        for stage, count in enumerate(_BLOCKS[depth]):
            planes = 64 << stage
            blocks = []
            for number in range(count):
                first = number == 0 and stage > 0
                blocks.append(_Bottleneck(inner, planes, 2 if first else 1, averaged=stage > 0 and number == 0))
                inner = 4 * planes
            stages.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.fc = nn.Linear(inner, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.silu(self.bn1(self.conv1(self.normalization(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))  # type: ignore[no-any-return]
