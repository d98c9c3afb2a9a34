"""The gradient that blocks of pixels give is the convolution's own."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

from benchmark.input_convolution import InputConvolution, block_side


def _layer(inner: int, kernel: int | tuple[int, int], **options: object) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(inner, 6, kernel, **options).requires_grad_(False)  # type: ignore[arg-type]


def _gradient(layer: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    leaf = x.clone().requires_grad_()
    out = layer(leaf)
    weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=out.dtype)
    return out.detach(), torch.autograd.grad((out * weight).sum(), leaf)[0]


@pytest.mark.parametrize(
    ("inner", "kernel", "padding"),
    [
        (1, 5, 0), (1, 5, 2), (1, 3, 1), (1, 3, 2), (1, 7, 3), (3, 3, 0), (3, 3, 1), (2, 3, 1),
        (1, (3, 5), (1, 0)), (3, (5, 3), (2, 1)),
    ],
)  # fmt: skip
def test_gradient_is_the_layers(inner: int, kernel: int | tuple[int, int], padding: int | tuple[int, int]) -> None:
    layer = _layer(inner, kernel, padding=padding).double()
    assert block_side(layer) > 1
    # Sides that blocks divide, and sides that they do not.
    for height, width in itertools.product((8, 9, 11), (8, 10, 13)):
        x = torch.rand(3, inner, height, width, dtype=torch.float64)
        for found, expected in zip(_gradient(InputConvolution(layer), x), _gradient(layer, x), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("bias", [True, False])
def test_layout_and_bias_are_kept(memory_format: torch.memory_format, bias: bool) -> None:
    layer = _layer(3, 3, padding=1, bias=bias).to(memory_format=memory_format)  # type: ignore[call-overload]
    x = torch.rand(4, 3, 12, 10).contiguous(memory_format=memory_format)
    fast = InputConvolution(layer)
    for found, expected in zip(_gradient(fast, x), _gradient(layer, x), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        assert torch.equal(fast(x), layer(x))
        assert fast(x).is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize(
    ("layer", "side"),
    [
        (_layer(1, 5), 4),
        (_layer(3, 3, padding=1), 2),
        (_layer(16, 3), 1),
        (_layer(8, 3), 1),
        (_layer(3, 7, stride=2), 1),
        (_layer(3, 3, dilation=2), 1),
        (_layer(2, 3, groups=2), 1),
        (_layer(3, 3, padding="same"), 1),
        (_layer(3, 3, padding=1, padding_mode="reflect"), 1),
        (_layer(1, 3, padding=3), 1),
        (_layer(1, 1), 1),
    ],
)
def test_blocks_are_used_where_they_help(layer: nn.Conv2d, side: int) -> None:
    assert block_side(layer) == side
