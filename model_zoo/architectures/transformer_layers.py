"""Layers that transformers and ConvNeXt have in common."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

EPSILON = 1e-6
"""What layer normalisation adds to variances, where a network says nothing else."""


class Perceptron(nn.Module):
    """Two linear layers over the last dimension.

    Args:
        width: features that come in and go out.
        activation: between the layers; GELU where there is none.
        factor: of the features in between.
    """

    def __init__(self, width: int, activation: nn.Module | None = None, factor: int = 4) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, factor * width)
        self.act = nn.GELU() if activation is None else activation
        self.fc2 = nn.Linear(factor * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))  # type: ignore[no-any-return]


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of each place of a feature map."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvolutionStem(nn.Module):
    """3×3 convolutions, each normalised over channels and with GELU, in the place of a cut into patches.

    Args:
        channels: that the convolutions give, one after another.
        halvings: how many of them, from the first on, leave out every second row and column.
        width: channels that a last 1×1 convolution gives; None for none.
    Source:
        Singh et al. 2023, arXiv:2303.01870.
    """

    def __init__(self, channels: Sequence[int], halvings: int, width: int | None = None) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inner = 3
        for number, outer in enumerate(channels):
            stride = 2 if number < halvings else 1
            layers += [nn.Conv2d(inner, outer, 3, stride=stride, padding=1), ChannelNorm(outer), nn.GELU()]
            inner = outer
        if width is not None:
            layers.append(nn.Conv2d(inner, width, 1))
        self.stem = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.stem(x)  # type: ignore[no-any-return]


def attend(queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor | float = 0.0) -> Tensor:
    """Return the values that each query asks for: softmax attention.

    Args:
        queries: (..., m, features).
        keys: (..., n, features).
        values: (..., n, features).
        bias: added before the softmax, broadcast to (..., m, n).
    Source:
        Vaswani et al. 2017, arXiv:1706.03762. Without fused kernels, whose gradients may vary from run to run.
    """
    weights = (queries * queries.shape[-1] ** -0.5) @ keys.transpose(-2, -1) + bias
    return F.softmax(weights, -1) @ values


def heads_of(x: Tensor, heads: int, parts: int) -> tuple[Tensor, ...]:
    """Split the features of tokens into parts, and each part among heads.

    Args:
        x: (n, tokens, parts · features).
        heads: number of heads.
        parts: such as 3, for queries, keys and values.
    Returns:
        As many tensors of shape (n, heads, tokens, features of a head).
    """
    count, tokens, features = x.shape
    split = x.reshape(count, tokens, parts, heads, features // (parts * heads))
    return split.permute(2, 0, 3, 1, 4).unbind(0)


def together(x: Tensor) -> Tensor:
    """Put the heads' features next to each other: from (n, heads, tokens, features) to (n, tokens, all features)."""
    return x.transpose(1, 2).flatten(2)
