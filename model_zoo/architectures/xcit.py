"""XCiT: attention among features instead of among places."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.architectures.normalization import normalization as named
from model_zoo.architectures.transformer_layers import EPSILON, Perceptron, attend, heads_of, together

_WAVES = 32
"""Features of the encoding of a place in each direction."""


class _Places(nn.Module):
    """A learned projection of sines and cosines of each place: what tells places apart."""

    def __init__(self, width: int, grid: int) -> None:
        super().__init__()
        self.waves: Tensor
        self.register_buffer("waves", _waves(grid), persistent=False)
        self.token_projection = nn.Conv2d(2 * _WAVES, width, 1)

    def forward(self) -> Tensor:
        return self.token_projection(self.waves).flatten(2).transpose(1, 2)  # type: ignore[no-any-return]


def _waves(grid: int) -> Tensor:
    """Return sines and cosines of rows, then of columns, (1, 2 · waves, grid, grid)."""
    along = torch.arange(1, grid + 1) / (grid + EPSILON) * 2 * torch.pi
    lengths = 10000.0 ** (torch.arange(0, _WAVES, 2) / _WAVES)
    angles = along[:, None] / lengths
    encoded = torch.stack([angles.sin(), angles.cos()], 2).flatten(1)
    rows, columns = encoded[:, None].expand(-1, grid, -1), encoded[None].expand(grid, -1, -1)
    return torch.cat([rows, columns], 2).permute(2, 0, 1)[None]


class _Patches(nn.Module):
    """Four 3×3 convolutions with BatchNorm after each, and GELU in between; some of them halve the image."""

    def __init__(self, width: int, halvings: tuple[bool, ...]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inner = 3
        for number, halving in enumerate(halvings):
            outer = width >> len(halvings) - 1 - number
            convolution = nn.Conv2d(inner, outer, 3, stride=2 if halving else 1, padding=1, bias=False)
            layers += [nn.Sequential(convolution, nn.BatchNorm2d(outer)), nn.GELU()]
            inner = outer
        self.proj = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).flatten(2).transpose(1, 2)  # type: ignore[no-any-return]


class _CrossCovariance(nn.Module):
    """Attention in which features ask features, over all places."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        queries, keys, values = (part.transpose(-2, -1) for part in heads_of(self.qkv(x), self.heads, 3))
        queries, keys = F.normalize(queries, dim=-1), F.normalize(keys, dim=-1)
        weights = (queries @ keys.transpose(-2, -1) * self.temperature).softmax(-1)
        return self.proj(together((weights @ values).transpose(-2, -1)))  # type: ignore[no-any-return]


class _Neighbours(nn.Module):
    """Two 3×3 convolutions of each feature by itself."""

    def __init__(self, width: int, grid: int) -> None:
        super().__init__()
        self.grid = grid
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.bn = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, groups=width)

    def forward(self, x: Tensor) -> Tensor:
        maps = x.transpose(1, 2).unflatten(2, (self.grid, self.grid))
        return self.conv2(self.bn(F.gelu(self.conv1(maps)))).flatten(2).transpose(1, 2)  # type: ignore[no-any-return]


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, grid: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=EPSILON)
        self.attn = _CrossCovariance(width, heads)
        self.norm3 = nn.LayerNorm(width, eps=EPSILON)
        self.local_mp = _Neighbours(width, grid)
        self.norm2 = nn.LayerNorm(width, eps=EPSILON)
        self.mlp = Perceptron(width)
        self.gamma1, self.gamma2, self.gamma3 = (nn.Parameter(torch.ones(width)) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.gamma1 * self.attn(self.norm1(x))
        x = x + self.gamma3 * self.local_mp(self.norm3(x))
        return x + self.gamma2 * self.mlp(self.norm2(x))  # type: ignore[no-any-return]


class _ClassAttention(nn.Module):
    """Attention in which the class's token alone asks."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        (queries,) = heads_of(self.q(x[:, :1]), self.heads, 1)
        (keys,), (values,) = heads_of(self.k(x), self.heads, 1), heads_of(self.v(x), self.heads, 1)
        return self.proj(together(attend(queries, keys, values)))  # type: ignore[no-any-return]


class _ClassBlock(nn.Module):
    """Attention and perceptron for the class's token; the others are normalised, and added to themselves."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=EPSILON)
        self.attn = _ClassAttention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=EPSILON)
        self.mlp = Perceptron(width)
        self.gamma1, self.gamma2 = nn.Parameter(torch.ones(width)), nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        normal = self.norm1(x)
        x = self.norm2(x + self.gamma1 * torch.cat([self.attn(normal), normal[:, 1:]], 1))
        return x + torch.cat([self.gamma2 * self.mlp(x[:, :1]), x[:, 1:]], 1)


class XCiT(nn.Module):
    """XCiT, with the names of parameters that published checkpoints have.

    Args:
        classes: number of classes.
        width: features of a token.
        heads: of each attention.
        size: height and width of the images.
        patch: height and width of a patch: 16, or 4 for small images, where the same convolutions halve less often.
        depth: number of blocks before those that only the class's token attends in.
        normalization: what happens to the images first, see `NORMALIZATIONS`.
    Source:
        El-Nouby et al. 2021, arXiv:2106.09681; small patches as in Debenedetti et al. 2022, arXiv:2209.07399.
    """

    def __init__(
        self,
        classes: int,
        width: int,
        heads: int,
        *,
        size: int = 224,
        patch: int = 16,
        depth: int = 12,
        normalization: str = "none",
    ) -> None:
        super().__init__()
        grid = size // patch
        self.normalization = named(normalization)
        self.patch_embed = _Patches(width, {16: (True, True, True, True), 4: (False, False, True, True)}[patch])
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = _Places(width, grid)
        self.blocks = nn.Sequential(*(_Block(width, heads, grid) for _ in range(depth)))
        self.cls_attn_blocks = nn.Sequential(_ClassBlock(width, heads), _ClassBlock(width, heads))
        self.norm = nn.LayerNorm(width, eps=EPSILON)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.blocks(self.patch_embed(self.normalization(x)) + self.pos_embed())
        tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), tokens], 1)
        return self.head(self.norm(self.cls_attn_blocks(tokens))[:, 0])  # type: ignore[no-any-return]
