"""Vision transformers, as ViT and DeiT have them, with a cut into patches or a stem of convolutions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from model_zoo.architectures.normalization import normalization as named
from model_zoo.architectures.transformer_layers import (
    EPSILON,
    ConvolutionStem,
    Perceptron,
    attend,
    heads_of,
    together,
)


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(together(attend(*heads_of(self.qkv(x), self.heads, 3))))  # type: ignore[no-any-return]


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=EPSILON)
        self.attn = _Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=EPSILON)
        self.mlp = Perceptron(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]


class _Patches(nn.Module):
    """From an image to tokens, one for each patch."""

    def __init__(self, width: int, patch: int, stem: Sequence[int]) -> None:
        super().__init__()
        cut = nn.Conv2d(3, width, patch, stride=patch)
        self.proj = ConvolutionStem(stem, len(stem), width) if stem else cut

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).flatten(2).transpose(1, 2)  # type: ignore[no-any-return]


class VisionTransformer(nn.Module):
    """A vision transformer with a token for the class, with the names of parameters that published checkpoints have.

    Args:
        classes: number of classes.
        width: features of a token.
        heads: of each attention.
        depth: number of blocks.
        stem: channels of convolutions that each halve the image, in the place of a cut into patches.
        size: height and width of the images.
        patch: height and width of a patch.
        normalization: what happens to the images first, see `NORMALIZATIONS`.
    Source:
        Dosovitskiy et al. 2021, arXiv:2010.11929; stems as in Singh et al. 2023, arXiv:2303.01870.
    """

    def __init__(
        self,
        classes: int,
        width: int,
        heads: int,
        *,
        depth: int = 12,
        stem: Sequence[int] = (),
        size: int = 224,
        patch: int = 16,
        normalization: str = "none",
    ) -> None:
        super().__init__()
        self.normalization = named(normalization)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, 1 + (size // patch) ** 2, width))
        self.patch_embed = _Patches(width, patch, stem)
        self.blocks = nn.Sequential(*(_Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=EPSILON)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patch_embed(self.normalization(x))
        tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), tokens], 1) + self.pos_embed
        return self.head(self.norm(self.blocks(tokens))[:, 0])  # type: ignore[no-any-return]
