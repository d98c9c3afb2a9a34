"""ConvNeXt, with a cut into patches or a stem of convolutions, and with MeanSparse."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from model_zoo.architectures.mean_sparse import MeanSparse
from model_zoo.architectures.normalization import normalization as named
from model_zoo.architectures.transformer_layers import EPSILON, ChannelNorm, ConvolutionStem, Perceptron


class _Block(nn.Module):
    """A 7×7 convolution of each channel and a perceptron over the channels."""

    def __init__(self, width: int, *, sparse: bool) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=EPSILON)
        first = nn.Sequential(MeanSparse(4 * width, images=False), nn.GELU()) if sparse else None
        self.mlp = Perceptron(width, first)
        self.gamma = nn.Parameter(torch.full((width,), 1e-6))
        # In the published checkpoints what sparsifies the change is the second of two layers.
        last = (nn.Identity(), MeanSparse(width, images=True)) if sparse else ()
        self.drop_path = nn.Sequential(*last)

    def forward(self, x: Tensor) -> Tensor:
        change = self.gamma * self.mlp(self.norm(self.conv_dw(x).permute(0, 2, 3, 1)))
        return x + self.drop_path(change.permute(0, 3, 1, 2))  # type: ignore[no-any-return]


class _Stage(nn.Module):
    """Blocks, with a halving of height and width before them where the channels change."""

    def __init__(self, inner: int, outer: int, blocks: int, *, sparse: bool) -> None:
        super().__init__()
        halving = (ChannelNorm(inner), nn.Conv2d(inner, outer, 2, stride=2)) if inner != outer else ()
        self.downsample = nn.Sequential(*halving)
        self.blocks = nn.Sequential(*(_Block(outer, sparse=sparse) for _ in range(blocks)))

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.downsample(x))  # type: ignore[no-any-return]


class _Head(nn.Module):
    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=EPSILON)
        self.fc = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.norm(x.mean((2, 3))))  # type: ignore[no-any-return]


class ConvNeXt(nn.Module):
    """ConvNeXt, with the names of parameters that published checkpoints have.

    Args:
        classes: number of classes.
        width: channels of the first of four stages, each of which has twice those of the one before.
        blocks: of each stage.
        stem: channels of a stem's convolutions, the first two of which halve the image; none for a cut into patches.
        normalization: what happens to the images first, see `NORMALIZATIONS`.
        sparse: whether features near their mean are set to it, see `MeanSparse`.
    Source:
        Liu et al. 2022, arXiv:2201.03545; stems as in Singh et al. 2023, arXiv:2303.01870.
    """

    def __init__(
        self,
        classes: int,
        width: int,
        blocks: Sequence[int],
        *,
        stem: Sequence[int] = (),
        normalization: str = "none",
        sparse: bool = False,
    ) -> None:
        super().__init__()
        self.normalization = named(normalization)
        cut = nn.Sequential(nn.Conv2d(3, width, 4, stride=4), ChannelNorm(width))
        self.stem = ConvolutionStem(stem, 2) if stem else cut
        widths = [width, *(width << number for number in range(len(blocks)))]
        self.stages = nn.Sequential(
            *(_Stage(widths[i], widths[i + 1], count, sparse=sparse) for i, count in enumerate(blocks))
        )
        self.head = _Head(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stages(self.stem(self.normalization(x))))  # type: ignore[no-any-return]
