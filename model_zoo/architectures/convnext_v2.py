"""ConvNeXt V2, with the names of parameters that its authors gave them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from model_zoo.architectures.normalization import normalization as named
from model_zoo.architectures.transformer_layers import EPSILON, ChannelNorm


class _ResponseNorm(nn.Module):
    """Scale each channel by its length over the whole map, relative to the mean of all channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1, 1, 1, width))
        self.beta = nn.Parameter(torch.zeros(1, 1, 1, width))

    def forward(self, x: Tensor) -> Tensor:
        lengths = x.norm(dim=(1, 2), keepdim=True)
        return self.gamma * (x * (lengths / (lengths.mean(-1, keepdim=True) + EPSILON))) + self.beta + x  # type: ignore[no-any-return]


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=EPSILON)
        self.pwconv1 = nn.Linear(width, 4 * width)
        self.act = nn.GELU()
        self.grn = _ResponseNorm(4 * width)
        self.pwconv2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        change = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        change = self.pwconv2(self.grn(self.act(self.pwconv1(change))))
        return x + change.permute(0, 3, 1, 2)  # type: ignore[no-any-return]


class ConvNeXtV2(nn.Module):
    """ConvNeXt V2.

    Args:
        classes: number of classes.
        width: channels of the first of four stages, each of which has twice those of the one before.
        blocks: of each stage.
        normalization: what happens to the images first, see `NORMALIZATIONS`.
    Source:
        Woo et al. 2023, arXiv:2301.00808.
    """

    def __init__(self, classes: int, width: int, blocks: Sequence[int], normalization: str = "none") -> None:
        super().__init__()
        self.normalization = named(normalization)
        widths = [width << stage for stage in range(len(blocks))]
        first = nn.Sequential(nn.Conv2d(3, width, 4, stride=4), ChannelNorm(width))
        halvings = (
            nn.Sequential(ChannelNorm(inner), nn.Conv2d(inner, 2 * inner, 2, stride=2)) for inner in widths[:-1]
        )
        self.downsample_layers = nn.ModuleList([first, *halvings])
        self.stages = nn.ModuleList(
            nn.Sequential(*(_Block(outer) for _ in range(count))) for outer, count in zip(widths, blocks, strict=True)
        )
        self.norm = nn.LayerNorm(widths[-1], eps=EPSILON)
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.normalization(x)
        for halving, stage in zip(self.downsample_layers, self.stages, strict=True):
            x = stage(halving(x))
        return self.head(self.norm(x.mean((2, 3))))  # type: ignore[no-any-return]
