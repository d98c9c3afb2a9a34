"""Residual networks with Swish and asymmetric padding, wide ones and pre-activation ResNets."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.architectures.mean_sparse import mean_sparse
from model_zoo.architectures.normalization import normalization as named
from model_zoo.architectures.squeeze_excitation import SqueezeExcitation


def _padded(x: Tensor, stride: int) -> Tensor:
    """Pad by a pixel for a 3×3 window: all around, or right and below alone where every second place is left out."""
    return F.pad(x, (1, 1, 1, 1) if stride == 1 else (0, 1, 0, 1))


class _WideBlock(nn.Module):
    def __init__(self, inner: int, outer: int, stride: int, *, squeezed: int, sparse: bool) -> None:
        super().__init__()
        self.stride = stride
        self.batchnorm_0 = nn.BatchNorm2d(inner)
        self.meansparse_0 = mean_sparse(inner, images=True, wanted=sparse)
        self.conv_0 = nn.Conv2d(inner, outer, 3, stride=stride, bias=False)
        self.batchnorm_1 = nn.BatchNorm2d(outer)
        self.meansparse_1 = mean_sparse(outer, images=True, wanted=sparse)
        self.conv_1 = nn.Conv2d(outer, outer, 3, padding=1, bias=False)
        self.shortcut = None if inner == outer else nn.Conv2d(inner, outer, 1, stride=stride, bias=False)
        self.se = SqueezeExcitation(outer, outer // squeezed) if squeezed else nn.Identity()
        self.meansparse_2 = mean_sparse(outer, images=True, wanted=sparse)

    def forward(self, x: Tensor) -> Tensor:
        active = F.silu(self.meansparse_0(self.batchnorm_0(x)))
        change = self.conv_0(_padded(active, self.stride))
        change = self.se(self.conv_1(F.silu(self.meansparse_1(self.batchnorm_1(change)))))
        return self.meansparse_2((x if self.shortcut is None else self.shortcut(active)) + change)  # type: ignore[no-any-return]


class _WideGroup(nn.Module):
    def __init__(self, inner: int, outer: int, blocks: int, stride: int, *, squeezed: int, sparse: bool) -> None:
        super().__init__()
        first = _WideBlock(inner, outer, stride, squeezed=squeezed, sparse=sparse)
        later = (_WideBlock(outer, outer, 1, squeezed=squeezed, sparse=sparse) for _ in range(blocks - 1))
        self.block = nn.Sequential(first, *later)

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x)  # type: ignore[no-any-return]


class SwishNetwork(nn.Module):
    """A wide residual network with Swish, with the names of parameters that published checkpoints have.

    Args:
        classes: number of classes.
        channels: of the first convolution and of each of three groups.
        blocks: of each group.
        normalization: what happens to the images first, see `NORMALIZATIONS`.
        squeezed: how many channels share one within a squeeze-and-excitation at the end of each block; 0 for none.
        sparse: whether features near their mean are set to it, see `MeanSparse`.
    Source:
        Gowal et al. 2020, arXiv:2010.03593; with squeeze-and-excitation Peng et al. 2023, arXiv:2308.16258.
    """

    def __init__(
        self,
        classes: int,
        channels: Sequence[int],
        blocks: Sequence[int],
        normalization: str,
        *,
        squeezed: int = 0,
        sparse: bool = False,
    ) -> None:
        super().__init__()
        self.normalization = named(normalization)
        self.init_conv = nn.Conv2d(3, channels[0], 3, padding=1, bias=False)
        self.layer = nn.Sequential(
            *(
                _WideGroup(
                    channels[i], channels[i + 1], count, stride=1 if i == 0 else 2, squeezed=squeezed, sparse=sparse
                )
                for i, count in enumerate(blocks)
            )
        )
        self.batchnorm = nn.BatchNorm2d(channels[-1])
        self.meansparse_end = mean_sparse(channels[-1], images=True, wanted=sparse)
        self.logits = nn.Linear(channels[-1], classes)

    def stages(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the feature maps after each group, then the logits."""
        x = self.init_conv(self.normalization(x))
        maps = [x := group(x) for group in self.layer]
        return *maps, self.logits(F.silu(self.meansparse_end(self.batchnorm(x))).mean((2, 3)))

    def forward(self, x: Tensor) -> Tensor:
        return self.stages(x)[-1]


class SwishWideResNet(SwishNetwork):
    """WRN-depth-width with Swish, with the names of parameters that published checkpoints have.

    Args:
        classes: number of classes.
        depth: 4 + 6 times the blocks of each of three groups.
        width: factor of the channels, which are 16, 32 and 64 times that.
        normalization: what happens to the images first, see `NORMALIZATIONS`.
        sparse: whether features near their mean are set to it, see `MeanSparse`.
    Source:
        Gowal et al. 2020, arXiv:2010.03593.
    """

    def __init__(self, classes: int, depth: int, width: int, normalization: str, *, sparse: bool = False) -> None:
        channels, blocks = (16, 16 * width, 32 * width, 64 * width), ((depth - 4) // 6,) * 3
        super().__init__(classes, channels, blocks, normalization, sparse=sparse)


class _Block(nn.Module):
    """A pre-activation block whose shortcut, where there is one, is a 3×3 convolution of what comes in."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.batchnorm_0 = nn.BatchNorm2d(inner)
        self.conv_2d_1 = nn.Conv2d(inner, outer, 3, stride=stride, bias=False)
        self.batchnorm_1 = nn.BatchNorm2d(outer)
        self.conv_2d_2 = nn.Conv2d(outer, outer, 3, padding=1, bias=False)
        same = inner == outer and stride == 1
        self.shortcut = None if same else nn.Conv2d(inner, outer, 3, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        kept = x if self.shortcut is None else self.shortcut(_padded(x, self.stride))
        change = self.conv_2d_1(_padded(F.silu(self.batchnorm_0(x)), self.stride))
        change = self.conv_2d_2(F.silu(self.batchnorm_1(change)))
        return kept + change  # type: ignore[no-any-return]


class SwishPreActResNet(nn.Module):
    """A pre-activation ResNet-18 with Swish, with the names of parameters that published checkpoints have.

    Args:
        classes: number of classes.
        normalization: what happens to the images first, see `NORMALIZATIONS`.
    Source:
        Rebuffi et al. 2021, arXiv:2103.01946.
    """

    def __init__(self, classes: int, normalization: str) -> None:
        super().__init__()
        self.normalization = named(normalization)
        self.conv_2d = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.layer_0 = nn.Sequential(_Block(64, 64, 1), _Block(64, 64, 1))
        self.layer_1 = nn.Sequential(_Block(64, 128, 2), _Block(128, 128, 1))
        self.layer_2 = nn.Sequential(_Block(128, 256, 2), _Block(256, 256, 1))
        self.layer_3 = nn.Sequential(_Block(256, 512, 2), _Block(512, 512, 1))
        self.batchnorm = nn.BatchNorm2d(512)
        self.logits = nn.Linear(512, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer_1(self.layer_0(self.conv_2d(self.normalization(x))))
        x = self.layer_3(self.layer_2(x))
        return self.logits(F.silu(self.batchnorm(x)).mean((2, 3)))  # type: ignore[no-any-return]
