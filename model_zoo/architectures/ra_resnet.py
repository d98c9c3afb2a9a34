"""A residual network of bottlenecks with squeeze-and-excitation for large images, found by a search for robustness."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.architectures.normalization import normalization as named
from model_zoo.architectures.squeeze_excitation import SqueezeExcitation


class _Bottleneck(nn.Module):
    """A grouped 3×3 convolution between two of 1×1, with squeeze-and-excitation before the last."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        middle = outer // 4
        self.proj: nn.Sequential | None = None
        if inner != outer or stride != 1:
            projection = nn.Conv2d(inner, outer, 1, stride=stride, bias=False)
            self.proj = nn.Sequential(projection, nn.BatchNorm2d(outer))
        reduced = nn.Conv2d(inner, middle, 1, bias=False)
        grouped = nn.Conv2d(middle, middle, 3, stride=stride, padding=1, groups=2, bias=False)
        expanded = nn.Conv2d(middle, outer, 1, bias=False)
        self.F = nn.ModuleDict(
            {
                "a": nn.Sequential(reduced),
                "b": nn.Sequential(grouped, nn.BatchNorm2d(middle)),
                "se": SqueezeExcitation(middle, round(inner / 4)),
                "c": nn.Sequential(expanded, nn.BatchNorm2d(outer)),
            }
        )

    def forward(self, x: Tensor) -> Tensor:
        change = F.silu(self.F["b"](F.silu(self.F["a"](x))))
        change = self.F["c"](self.F["se"](change))
        return F.silu((x if self.proj is None else self.proj(x)) + change)


class _Stem(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        convolution = nn.Conv2d(3, channels, 7, stride=2, padding=3, bias=False)
        self.stem = nn.Sequential(OrderedDict(stem=nn.Sequential(convolution, nn.BatchNorm2d(channels))))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.stem(x))


class RaResNet(nn.Module):
    """Ra-ResNet and Ra-WRN, with the names of parameters that published checkpoints have.

    Args:
        classes: number of classes.
        stem: channels of the first convolution.
        channels: of each stage.
        blocks: of each stage.
        normalization: what happens to the images first, see `NORMALIZATIONS`.
    Source:
        Peng et al. 2023, arXiv:2308.16258.
    """

    def __init__(
        self, classes: int, stem: int, channels: Sequence[int], blocks: Sequence[int], normalization: str
    ) -> None:
        super().__init__()
        self.normalization = named(normalization)
        self.stem = _Stem(stem)
        self.stages = nn.Sequential()
        inner = stem
        for number, (outer, count) in enumerate(zip(channels, blocks, strict=True), 1):
            stage = nn.Sequential()
            for block in range(count):
                made = _Bottleneck(inner, outer, 2 if block == 0 else 1)
                stage.add_module(f"stage{number}-block{block}", made)
                inner = outer
            self.stages.add_module(f"stage{number}", stage)
        self.fc = nn.Linear(inner, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.stages(self.stem(self.normalization(x))).mean((2, 3)))  # type: ignore[no-any-return]
