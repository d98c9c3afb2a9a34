"""Wide residual networks for 32×32 images, as most defences on CIFAR use them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.architectures.normalization import normalization as named


class ParametricSwish(nn.Module):
    """Swish of a learned steepness, and shifted by a learned slope.

    Source:
        Dai et al. 2021, arXiv:2110.05626, as PSSiLU.
    """

    def __init__(self) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.tensor([1e-8]))
        self.alpha = nn.Parameter(torch.tensor([1.0]))

    def forward(self, x: Tensor) -> Tensor:
        slope = self.beta.abs()
        return x * ((self.alpha.abs() * x).sigmoid() - slope) / (1 - slope)


_ACTIVATIONS: Mapping[str, type[nn.Module]] = {"relu": nn.ReLU, "pssilu": ParametricSwish}


class _Block(nn.Module):
    """Two normalised convolutions added to a shortcut; where the width changes, that too begins normalised."""

    def __init__(self, inner: int, outer: int, stride: int, activation: nn.Module) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inner)
        self.activation = activation
        self.conv1 = nn.Conv2d(inner, outer, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outer)
        self.conv2 = nn.Conv2d(outer, outer, 3, padding=1, bias=False)
        self.convShortcut = None if inner == outer else nn.Conv2d(inner, outer, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        active = self.activation(self.bn1(x))
        change: Tensor = self.conv2(self.activation(self.bn2(self.conv1(active))))
        return change + (x if self.convShortcut is None else self.convShortcut(active))


class _Group(nn.Module):
    def __init__(self, inner: int, outer: int, blocks: int, stride: int, activation: nn.Module) -> None:
        super().__init__()
        first = _Block(inner, outer, stride, activation)
        self.layer = nn.Sequential(first, *(_Block(outer, outer, 1, activation) for _ in range(blocks - 1)))

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
        activation: "relu", or "pssilu", whose two parameters all its places share.
    Source:
        Zagoruyko & Komodakis 2016, arXiv:1605.07146; unit norms as in Pang et al. 2020, arXiv:2002.08619.
    """

    def __init__(
        self,
        classes: int,
        depth: int,
        width: int,
        normalization: str = "none",
        *,
        unit_norm: bool = False,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        blocks, channels = (depth - 4) // 6, [16, 16 * width, 32 * width, 64 * width]
        shared = _ACTIVATIONS[activation]()
        self.normalization = named(normalization)
        self.conv1 = nn.Conv2d(3, channels[0], 3, padding=1, bias=False)
        self.block1 = _Group(channels[0], channels[1], blocks, 1, shared)
        self.block2 = _Group(channels[1], channels[2], blocks, 2, shared)
        self.block3 = _Group(channels[2], channels[3], blocks, 2, shared)
        self.bn1 = nn.BatchNorm2d(channels[3])
        self.activation = shared
        self.fc = nn.Linear(channels[3], classes, bias=not unit_norm)
        self.unit_norm = unit_norm

    def forward(self, x: Tensor) -> Tensor:
        x = self.block3(self.block2(self.block1(self.conv1(self.normalization(x)))))
        features = self.activation(self.bn1(x)).mean((2, 3))
        if self.unit_norm:
            return F.linear(F.normalize(features), F.normalize(self.fc.weight))
        return self.fc(features)  # type: ignore[no-any-return]


class RobustWideResNet(nn.Module):
    """A wide residual network with channels of its own for each group, with the names that published checkpoints have.

    Args:
        classes: number of classes.
        channels: of the first convolution and of each group.
        blocks: of each group.
        normalization: what happens to the images first, see `NORMALIZATIONS`.
    Source:
        Huang et al. 2021, arXiv:2110.03825.
    """

    def __init__(
        self, classes: int, channels: Sequence[int], blocks: Sequence[int], normalization: str = "none"
    ) -> None:
        super().__init__()
        self.normalization = named(normalization)
        self.stem_conv = nn.Conv2d(3, channels[0], 3, padding=1, bias=False)
        self.blocks = nn.Sequential(
            *(
                _Group(channels[i], channels[i + 1], count, 1 if i == 0 else 2, nn.ReLU())
                for i, count in enumerate(blocks)
            )
        )
        self.bn1 = nn.BatchNorm2d(channels[-1])
        self.fc = nn.Linear(channels[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.stem_conv(self.normalization(x)))
        return self.fc(F.relu(self.bn1(x)).mean((2, 3)))  # type: ignore[no-any-return]
