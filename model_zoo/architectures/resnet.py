"""Residual networks for 32×32 images: with activations after or before the convolutions, and ensembles of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.architectures.normalization import normalization as named

_MakeBlock = Callable[[int, int, int], nn.Module]
"""From channels that come in, channels of the group and stride."""


class _Basic(nn.Module):
    """Two 3×3 convolutions, each with BatchNorm after it."""

    expansion = 1

    def __init__(self, inner: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inner, planes, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.shortcut = _projection(inner, planes, stride)

    def forward(self, x: Tensor) -> Tensor:
        change = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(change + self.shortcut(x))


class _Bottleneck(nn.Module):
    """A 3×3 convolution between two of 1×1, each with BatchNorm after it."""

    expansion = 4

    def __init__(self, inner: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inner, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, 4 * planes, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * planes)
        self.shortcut = _projection(inner, 4 * planes, stride)

    def forward(self, x: Tensor) -> Tensor:
        change = F.relu(self.bn1(self.conv1(x)))
        change = F.relu(self.bn2(self.conv2(change)))
        return F.relu(self.bn3(self.conv3(change)) + self.shortcut(x))


class _NormalizedBottleneck(nn.Module):
    """A bottleneck that begins with BatchNorm; a projecting shortcut sees what that gives."""

    expansion = 4

    def __init__(self, inner: int, planes: int, stride: int) -> None:
        super().__init__()
        self.bn0 = nn.BatchNorm2d(inner)
        self.conv1 = nn.Conv2d(inner, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, 4 * planes, 1, bias=False)
        self.shortcut = _projection(inner, 4 * planes, stride)

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.bn0(x))
        change = F.relu(self.bn1(self.conv1(active)))
        change = self.conv3(F.relu(self.bn2(self.conv2(change))))
        return change + (self.shortcut(active) if len(self.shortcut) else x)  # type: ignore[no-any-return]


class _PreActivation(nn.Module):
    """Two 3×3 convolutions, each with BatchNorm before it.

    Args:
        inner: channels that come in.
        planes: channels that go out.
        stride: of the first convolution.
        late_shortcut: whether a projecting shortcut sees what the first BatchNorm gives, not what comes in.
    """

    expansion = 1

    def __init__(self, inner: int, planes: int, stride: int, *, late_shortcut: bool) -> None:
        super().__init__()
        self.late_shortcut = late_shortcut
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv1 = nn.Conv2d(inner, planes, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.shortcut = nn.Sequential(*list(_projection(inner, planes, stride))[:1])  # no BatchNorm after it

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.bn1(x))
        kept = self.shortcut(active if self.late_shortcut and len(self.shortcut) else x)
        return self.conv2(F.relu(self.bn2(self.conv1(active)))) + kept  # type: ignore[no-any-return]


def _projection(inner: int, outer: int, stride: int) -> nn.Sequential:
    """Return a shortcut: a 1×1 convolution with BatchNorm where the shape changes, nothing elsewhere."""
    if inner == outer and stride == 1:
        return nn.Sequential()
    return nn.Sequential(nn.Conv2d(inner, outer, 1, stride=stride, bias=False), nn.BatchNorm2d(outer))


def _group(make: _MakeBlock, inner: int, planes: int, expansion: int, blocks: int, stride: int) -> nn.Sequential:
    later = (make(expansion * planes, planes, 1) for _ in range(blocks - 1))
    return nn.Sequential(make(inner, planes, stride), *later)


class _Residual(nn.Module):
    """A stem and four groups of blocks; what comes between and after them is up to the rest."""

    def __init__(self, blocks: Sequence[int], make: _MakeBlock, expansion: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.layer1 = _group(make, 64, 64, expansion, blocks[0], 1)
        self.layer2 = _group(make, 64 * expansion, 128, expansion, blocks[1], 2)
        self.layer3 = _group(make, 128 * expansion, 256, expansion, blocks[2], 2)
        self.layer4 = _group(make, 256 * expansion, 512, expansion, blocks[3], 2)

    def groups(self, x: Tensor) -> Tensor:
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))  # type: ignore[no-any-return]


_DEPTHS: dict[int, tuple[Sequence[int], type[_Basic] | type[_Bottleneck]]] = {
    18: ((2, 2, 2, 2), _Basic),
    50: ((3, 4, 6, 3), _Bottleneck),
}


class ResNet(_Residual):
    """ResNet-18 or ResNet-50 with a 3×3 stem, with the names of parameters that published checkpoints have.

    Args:
        classes: number of classes.
        depth: 18 or 50.
        normalization: what happens to the images first, see `NORMALIZATIONS`.
    Source:
        He et al. 2016, arXiv:1512.03385.
    """

    def __init__(self, classes: int, depth: int, normalization: str = "none") -> None:
        blocks, block = _DEPTHS[depth]
        super().__init__(blocks, block, block.expansion)
        self.normalization = named(normalization)
        self.bn1 = nn.BatchNorm2d(64)
        self.linear = nn.Linear(512 * block.expansion, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(self.normalization(x))))
        return self.linear(self.groups(x).mean((2, 3)))  # type: ignore[no-any-return]


class PreActResNet(_Residual):
    """A pre-activation ResNet-18, with the names of parameters that published checkpoints have.

    Args:
        classes: number of classes.
        normalization: what happens to the images first, see `NORMALIZATIONS`.
        final_norm: whether BatchNorm and ReLU come before the last layer.
        late_shortcut: whether projecting shortcuts see normalised values.
    Source:
        He et al. 2016, arXiv:1603.05027.
    """

    def __init__(
        self, classes: int, normalization: str = "none", *, final_norm: bool = False, late_shortcut: bool = False
    ) -> None:
        def make(inner: int, planes: int, stride: int) -> nn.Module:
            return _PreActivation(inner, planes, stride, late_shortcut=late_shortcut)

        super().__init__((2, 2, 2, 2), make, 1)
        self.normalization = named(normalization)
        self.bn = nn.BatchNorm2d(512) if final_norm else None
        self.linear = nn.Linear(512, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.groups(self.conv1(self.normalization(x)))
        if self.bn is not None:
            x = F.relu(self.bn(x))
        return self.linear(x.mean((2, 3)))  # type: ignore[no-any-return]


class _Member(_Residual):
    def __init__(self, classes: int) -> None:
        super().__init__((3, 4, 6, 3), _NormalizedBottleneck, 4)
        self.bn1 = nn.BatchNorm2d(64)
        self.linear = nn.Linear(2048, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.groups(F.relu(self.bn1(self.conv1(x)))).mean((2, 3)))  # type: ignore[no-any-return]


class ResNetEnsemble(nn.Module):
    """The mean of the probabilities of three ResNet-50 whose blocks begin with BatchNorm.

    Its answers are probabilities, not logits, as published.

    Args:
        classes: number of classes.
        normalization: what happens to the images first, see `NORMALIZATIONS`.
    Source:
        Chen et al. 2020, arXiv:2003.12862.
    """

    def __init__(self, classes: int, normalization: str) -> None:
        super().__init__()
        self.normalization = named(normalization)
        self.models = nn.ModuleList(_Member(classes) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.normalization(x)
        return torch.stack([model(x).softmax(1) for model in self.models]).mean(0)
