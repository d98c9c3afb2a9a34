"""BiT: residual networks with normalisation over groups of channels, and standardised weights."""

from __future__ import annotations

from collections import OrderedDict

import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.architectures.normalization import normalization as named

_DEPTHS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
_GROUPS = 32
_SIZE = 128
"""Height and width to which smaller images are brought."""


class _Convolution(nn.Conv2d):
    """A convolution whose filters have mean 0 and variance 1 when they are used."""

    def forward(self, x: Tensor) -> Tensor:
        mean = self.weight.mean((1, 2, 3), keepdim=True)
        variance = self.weight.var((1, 2, 3), keepdim=True, correction=0)
        weight = (self.weight - mean) / (variance + 1e-10).sqrt()
        return F.conv2d(x, weight, None, self.stride, self.padding)


def _convolution(inner: int, outer: int, size: int, stride: int = 1) -> _Convolution:
    return _Convolution(inner, outer, size, stride=stride, padding=size // 2, bias=False)


class _Unit(nn.Module):
    """A pre-activation bottleneck; a projecting shortcut sees what the first convolution sees."""

    def __init__(self, inner: int, middle: int, stride: int) -> None:
        super().__init__()
        outer = 4 * middle
        self.gn1 = nn.GroupNorm(_GROUPS, inner)
        self.conv1 = _convolution(inner, middle, 1)
        self.gn2 = nn.GroupNorm(_GROUPS, middle)
        self.conv2 = _convolution(middle, middle, 3, stride)
        self.gn3 = nn.GroupNorm(_GROUPS, middle)
        self.conv3 = _convolution(middle, outer, 1)
        self.downsample = None if inner == outer and stride == 1 else _convolution(inner, outer, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.gn1(x))
        change = self.conv2(F.relu(self.gn2(self.conv1(active))))
        change = self.conv3(F.relu(self.gn3(change)))
        return change + (x if self.downsample is None else self.downsample(active))  # type: ignore[no-any-return]


class BiTResNet(nn.Module):
    """A BiT network for small images, which it enlarges first, with the names that published checkpoints have.

    Args:
        classes: number of classes.
        depth: 50, 101 or 152.
        width: factor of the channels.
    Source:
        Kolesnikov et al. 2020, arXiv:1912.11370.
    """

    def __init__(self, classes: int, depth: int, width: int) -> None:
        super().__init__()
        self.normalization = named("half")
        self.root = nn.Sequential(OrderedDict(conv=_convolution(3, 64 * width, 7, 2)))
        self.body = nn.Sequential()
        inner = 64 * width
        for block, count in enumerate(_DEPTHS[depth]):
            middle = 64 * width << block
            units: OrderedDict[str, nn.Module] = OrderedDict()
            for number in range(1, count + 1):
                units[f"unit{number:02d}"] = _Unit(inner, middle, 2 if number == 1 and block > 0 else 1)
                inner = 4 * middle
            self.body.add_module(f"block{block + 1}", nn.Sequential(units))
        head = OrderedDict(gn=nn.GroupNorm(_GROUPS, inner), conv=nn.Conv2d(inner, classes, 1))
        self.head = nn.ModuleDict(head)

    def stages(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the feature maps after each block, then the logits."""
        x = F.interpolate(self.normalization(x), size=(_SIZE, _SIZE), mode="bilinear")
        # Places around the image count as 0 for the greatest of 3×3, not as nothing.
        x = F.max_pool2d(F.pad(self.root(x), (1, 1, 1, 1)), 3, stride=2)
        maps = [x := block(x) for block in self.body]
        mean = F.relu(self.head["gn"](x)).mean((2, 3), keepdim=True)
        return *maps, self.head["conv"](mean).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.stages(x)[-1]
