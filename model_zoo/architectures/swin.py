"""Swin transformers: attention within windows that shift from block to block."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from model_zoo.architectures.mean_sparse import mean_sparse
from model_zoo.architectures.normalization import normalization as named
from model_zoo.architectures.transformer_layers import attend, heads_of, together

_APART = -100.0
"""Added before the softmax between places that only the shift made neighbours."""


def _windows(x: Tensor, size: int) -> Tensor:
    """Cut feature maps (n, height, width, features) into windows (n · windows, size², features)."""
    count, height, width, features = x.shape
    cut = x.reshape(count, height // size, size, width // size, size, features)
    return cut.transpose(2, 3).reshape(-1, size * size, features)


def _maps(windows: Tensor, size: int, resolution: int) -> Tensor:
    """Put windows together again."""
    along, features = resolution // size, windows.shape[-1]
    cut = windows.reshape(-1, along, along, size, size, features)
    return cut.transpose(2, 3).reshape(-1, resolution, resolution, features)


def _relative_places(size: int) -> Tensor:
    """Number how far apart two places of a window lie, (size², size²): rows first, then columns."""
    places = torch.arange(size)
    apart = places[:, None] - places[None, :] + size - 1
    rows, columns = apart[:, None, :, None], apart[None, :, None, :]
    return (rows * (2 * size - 1) + columns).reshape(size * size, size * size)


def _apart(resolution: int, size: int, shift: int) -> Tensor:
    """Return what keeps places apart that a cyclic shift brings into one window, (windows, size², size²)."""
    strip = torch.zeros(resolution)
    strip[resolution - size : resolution - shift], strip[resolution - shift :] = 1, 2
    regions = _windows((3 * strip[:, None] + strip)[None, :, :, None], size).squeeze(-1)
    return (regions[:, None, :] != regions[:, :, None]) * _APART


class _Attention(nn.Module):
    """Attention within windows, with a bias for each distance of two places."""

    def __init__(self, width: int, heads: int, size: int) -> None:
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(0.02 * torch.randn((2 * size - 1) ** 2, heads))
        self.places: Tensor
        self.register_buffer("places", _relative_places(size), persistent=False)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, windows: Tensor, apart: Tensor | None) -> Tensor:
        bias = self.relative_position_bias_table[self.places].permute(2, 0, 1)
        queries, keys, values = heads_of(self.qkv(windows), self.heads, 3)
        if apart is not None:
            bias = (bias + apart[:, None]).repeat(len(windows) // len(apart), 1, 1, 1)
        return self.proj(together(attend(queries, keys, values, bias)))  # type: ignore[no-any-return]


class _Perceptron(nn.Module):
    def __init__(self, width: int, *, sparse: bool) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.meansparse1 = mean_sparse(4 * width, images=False, wanted=sparse)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(4 * width, width)
        self.meansparse2 = mean_sparse(width, images=False, wanted=sparse)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.meansparse1(self.fc1(x)))
        return self.meansparse2(self.fc2(x))  # type: ignore[no-any-return]


class _Block(nn.Module):
    def __init__(
        self, width: int, heads: int, *, resolution: int, window: int, shifted: bool, epsilon: float, sparse: bool
    ) -> None:
        super().__init__()
        self.resolution, self.window = resolution, min(window, resolution)
        self.shift = window // 2 if shifted and window < resolution else 0
        self.norm1 = nn.LayerNorm(width, eps=epsilon)
        self.attn = _Attention(width, heads, self.window)
        self.meansparse1 = mean_sparse(width, images=False, wanted=sparse)
        self.norm2 = nn.LayerNorm(width, eps=epsilon)
        self.mlp = _Perceptron(width, sparse=sparse)
        self.meansparse2 = mean_sparse(width, images=False, wanted=sparse)
        apart = _apart(resolution, self.window, self.shift) if self.shift else None
        self.apart: Tensor | None
        self.register_buffer("apart", apart, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.meansparse1(x + self._attended(self.norm1(x)))
        return self.meansparse2(x + self.mlp(self.norm2(x)))  # type: ignore[no-any-return]

    def _attended(self, x: Tensor) -> Tensor:
        shifted = x.roll((-self.shift, -self.shift), (1, 2)) if self.shift else x
        attended = _maps(self.attn(_windows(shifted, self.window), self.apart), self.window, self.resolution)
        return attended.roll((self.shift, self.shift), (1, 2)) if self.shift else attended


class _Merging(nn.Module):
    """Put each 2×2 places together and halve their features."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width, eps=epsilon)
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        count, height, width, features = x.shape
        squares = x.reshape(count, height // 2, 2, width // 2, 2, features).permute(0, 1, 3, 4, 2, 5).flatten(3)
        return self.reduction(self.norm(squares))  # type: ignore[no-any-return]


class _Stage(nn.Module):
    def __init__(self, blocks: Sequence[_Block], merging: _Merging | None) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*blocks)
        self.downsample = nn.Sequential() if merging is None else merging

    def forward(self, x: Tensor) -> Tensor:
        return self.downsample(self.blocks(x))  # type: ignore[no-any-return]


class _Patches(nn.Module):
    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, 4, stride=4)
        self.norm = nn.LayerNorm(width, eps=epsilon)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.proj(x).permute(0, 2, 3, 1))  # type: ignore[no-any-return]


class SwinTransformer(nn.Module):
    """A Swin transformer, with the names of parameters that published checkpoints have.

    Args:
        classes: number of classes.
        width: features after the cut into patches; each of four stages has twice those of the one before.
        heads: of each attention in the first stage; likewise.
        blocks: of each stage.
        window: height and width of a window in patches.
        size: height and width of the images.
        normalization: what happens to the images first, see `NORMALIZATIONS`.
        epsilon: what layer normalisation adds to variances.
        sparse: whether features near their mean are set to it, see `MeanSparse`.
    Source:
        Liu et al. 2021, arXiv:2103.14030.
    """

    def __init__(
        self,
        classes: int,
        width: int,
        heads: int,
        *,
        blocks: Sequence[int] = (2, 2, 18, 2),
        window: int = 7,
        size: int = 224,
        normalization: str = "none",
        epsilon: float = 1e-5,
        sparse: bool = False,
    ) -> None:
        super().__init__()
        self.normalization = named(normalization)
        self.patch_embed = _Patches(width, epsilon)
        stages = []
        for stage, count in enumerate(blocks):
            made = (
                _Block(
                    width << stage,
                    heads << stage,
                    resolution=size // 4 >> stage,
                    window=window,
                    shifted=number % 2 == 1,
                    epsilon=epsilon,
                    sparse=sparse,
                )
                for number in range(count)
            )
            last = stage == len(blocks) - 1
            stages.append(_Stage(tuple(made), None if last else _Merging(width << stage, epsilon)))
        self.layers = nn.Sequential(*stages)
        self.norm = nn.LayerNorm(width << len(blocks) - 1, eps=epsilon)
        self.head = nn.Linear(width << len(blocks) - 1, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.layers(self.patch_embed(self.normalization(x))))
        return self.head(x.mean((1, 2)))  # type: ignore[no-any-return]
