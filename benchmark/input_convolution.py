"""A convolution of few input channels whose way back to the image is computed in blocks of pixels.

The gradient with respect to an image of one or three channels is a convolution with one or three output channels. CPU
kernels compute sixteen at a time and throw the rest away: on a small network this one operation can take half of a
gradient pass. Here a block of pixels takes the place of the missing channels.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_LANES = 16
"""Output channels that a kernel computes at once, with the vectors of 512 bits that most servers have."""
_WORTHWHILE = 0.6
"""Share of the cost from which on the blocks are not worth their trouble."""


class InputConvolution(nn.Conv2d):
    """Convolves as the given layer does; only the gradient with respect to its input takes another way.

    Args:
        layer: eligible, see `block_side`, with frozen parameters.
    """

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__(
            layer.in_channels, layer.out_channels, layer.kernel_size,  # type: ignore[arg-type]
            padding=layer.padding, bias=layer.bias is not None, device="meta",  # type: ignore[arg-type]
        )  # fmt: skip
        self.weight, self.bias = layer.weight, layer.bias
        self._side = block_side(layer)
        self.register_buffer("_blocks", block_kernel(layer.weight.detach(), self._side))

    def lower_gradient(self) -> None:
        """Compute the input gradient from numbers in bfloat16; the convolution itself stays as it is."""
        self.register_buffer("_blocks", self.get_buffer("_blocks").bfloat16())

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name is torch's
        """Return the convolution, (n, channels, h, w)."""
        padding = sizes(self.padding)
        if not input.requires_grad:
            return F.conv2d(input, self.weight, self.bias, padding=padding)
        blocks = self.get_buffer("_blocks")
        out: Tensor = _Convolve.apply(input, self.weight, self.bias, blocks, padding, self._side)  # type: ignore[no-untyped-call]
        return out


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0917 - torch passes them so
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, blocks: Tensor, padding: tuple[int, int], side: int
    ) -> Tensor:
        ctx.save_for_backward(blocks)
        ctx.padding, ctx.side, ctx.shape, ctx.kernel = padding, side, x.shape, weight.shape[2:]
        return F.conv2d(x, weight, bias, padding=padding)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (blocks,), side = ctx.saved_tensors, ctx.side
        _, _, height, width = ctx.shape
        margins = [size - 1 - margin for size, margin in zip(ctx.kernel, ctx.padding, strict=True)]
        grad = grads[0].to(blocks.dtype)
        if height % side or width % side:
            # Blocks that stick out over the lower and the right edge see zeros there.
            grad = F.pad(grad, (0, -width % side, 0, -height % side))
        grad = F.conv2d(grad, blocks, stride=side, padding=margins)
        grad = F.pixel_shuffle(grad.to(grads[0].dtype), side)
        return grad[:, :, :height, :width], None, None, None, None, None


def block_side(layer: nn.Conv2d) -> int:
    """Return the side of the blocks in which a layer's input gradient costs least; 1 where blocks do not help."""
    height, width = sizes(layer.kernel_size)
    plain = (
        layer.groups == 1
        and sizes(layer.stride) == (1, 1)
        and sizes(layer.dilation) == (1, 1)
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
        and all(margin < size for margin, size in zip(sizes(layer.padding), (height, width), strict=True))
    )
    if not plain:
        return 1

    def cost(side: int) -> float:
        """Products for each pixel."""
        computed = _LANES * -(-layer.in_channels * side**2 // _LANES)
        return computed / side**2 * (height + side - 1) * (width + side - 1)

    best = min((1, 2, 4), key=cost)
    return best if cost(best) < _WORTHWHILE * cost(1) else 1


def block_kernel(weight: Tensor, side: int) -> Tensor:
    """Return the kernel from gradients of the output to blocks of gradients of the input.

    Args:
        weight: (out, in, h, w).
        side: of a block.
    Returns:
        (in · side · side, out, h + side - 1, w + side - 1): for each pixel of a block the kernel turned by half a
        turn, at the pixel's place in the block.
    """
    outer, inner, height, width = weight.shape
    turned = weight.flip(2, 3).transpose(0, 1)
    blocks = weight.new_zeros(inner, side, side, outer, height + side - 1, width + side - 1)
    for row in range(side):
        for column in range(side):
            blocks[:, row, column, :, row : row + height, column : column + width] = turned
    return blocks.flatten(0, 2)


def sizes(value: object) -> tuple[int, int]:
    """Return height and width of what torch lets be one number or two."""
    if isinstance(value, (tuple, list)):
        return int(value[0]), int(value[1])
    return (int(value), int(value)) if isinstance(value, int) else (-1, -1)
