"""Residual networks found by pruning, for 32×32 images, and decks of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.architectures.normalization import normalization as named

_MakeBlock = Callable[[int, int, int], nn.Module]
"""From channels that come in, channels that go out and stride."""


class _Block(nn.Module):
    """Two 3×3 convolutions, each with BatchNorm after it."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inner, outer, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outer)
        self.conv2 = nn.Conv2d(outer, outer, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outer)
        self.downsample: nn.Sequential | None = None
        if inner != outer or stride != 1:
            projection = nn.Conv2d(inner, outer, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(outer))

    def forward(self, x: Tensor) -> Tensor:
        change = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(change + (x if self.downsample is None else self.downsample(x)))


class _BinaryBlock(nn.Module):
    """Two 3×3 convolutions, each after statistics alone and ReLU; the shortcut sees what that gives, always."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inner, outer, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner, affine=False)
        self.conv2 = nn.Conv2d(outer, outer, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outer, affine=False)
        self.shortcut = nn.Sequential()
        if inner != outer or stride != 1:
            projection = nn.Conv2d(inner, outer, 1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(outer, affine=False))

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.bn1(x))
        change: Tensor = self.conv2(F.relu(self.bn2(self.conv1(active))))
        return change + self.shortcut(active)  # type: ignore[no-any-return]


def _group(make: _MakeBlock, inner: int, outer: int, stride: int) -> nn.Sequential:
    return nn.Sequential(make(inner, outer, stride), make(outer, outer, 1))


class LotteryResNet(nn.Module):
    """A pruned ResNet-18 of twice the usual width, with the names of parameters that published checkpoints have.

    Args:
        classes: number of classes.
        normalization: what happens to the images first, see `NORMALIZATIONS`.
    Source:
        Diffenderfer et al. 2021, arXiv:2106.09129, as LRR.
    """

    def __init__(self, classes: int, normalization: str = "none") -> None:
        super().__init__()
        self.normalization = named(normalization)
        self.conv1 = nn.Conv2d(3, 128, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(128)
        self.layer1 = _group(_Block, 128, 128, 1)
        self.layer2 = _group(_Block, 128, 256, 2)
        self.layer3 = _group(_Block, 256, 512, 2)
        self.layer4 = _group(_Block, 512, 1024, 2)
        self.fc = nn.Linear(1024, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer2(self.layer1(F.relu(self.bn1(self.conv1(self.normalization(x))))))
        return self.fc(self.layer4(self.layer3(x)).mean((2, 3)))  # type: ignore[no-any-return]


class BinaryResNet(nn.Module):
    """A pre-activation ResNet-18 whose published weights are, in each layer, 0 or of one magnitude.

    Args:
        classes: number of classes.
        normalization: what happens to the images first, see `NORMALIZATIONS`.
    Source:
        Diffenderfer et al. 2021, arXiv:2106.09129, as edge-popup.
    """

    def __init__(self, classes: int, normalization: str = "none") -> None:
        super().__init__()
        self.normalization = named(normalization)
        self.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(768, affine=False)
        self.layer1 = _group(_BinaryBlock, 64, 64, 1)
        self.layer2 = _group(_BinaryBlock, 64, 192, 2)
        self.layer3 = _group(_BinaryBlock, 192, 384, 2)
        self.layer4 = _group(_BinaryBlock, 384, 768, 2)
        self.fc = nn.Conv2d(768, classes, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer2(self.layer1(self.conv1(self.normalization(x))))
        x = F.relu(self.bn1(self.layer4(self.layer3(x))))
        return self.fc(x.mean((2, 3), keepdim=True)).flatten(1)  # type: ignore[no-any-return]


_PRUNED: Mapping[str, type[LotteryResNet] | type[BinaryResNet]] = {"lottery": LotteryResNet, "binary": BinaryResNet}


class CardDeck(nn.Module):
    """The mean of the probabilities of several pruned networks: its answers are probabilities, as published.

    Args:
        classes: number of classes.
        pruning: "lottery" or "binary".
        normalization: what happens to the images first, see `NORMALIZATIONS`.
        cards: number of networks.
    Source:
        Diffenderfer et al. 2021, arXiv:2106.09129.
    """

    def __init__(self, classes: int, pruning: str, normalization: str, cards: int = 6) -> None:
        super().__init__()
        self.normalization = named(normalization)
        self.models = nn.ModuleList(_PRUNED[pruning](classes) for _ in range(cards))

    def forward(self, x: Tensor) -> Tensor:
        x = self.normalization(x)
        return torch.stack([model(x).softmax(1) for model in self.models]).mean(0)
