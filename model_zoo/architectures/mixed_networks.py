"""An accurate and a robust network whose probabilities are mixed, in a fixed proportion or as a network says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.architectures.bit_resnet import BiTResNet
from model_zoo.architectures.convnext_v2 import ConvNeXtV2
from model_zoo.architectures.swin import SwinTransformer
from model_zoo.architectures.swish_resnet import SwishNetwork, SwishWideResNet

_LARGEST = 250
"""How many of the greatest logits decide on their mean and deviation."""
_STEEP = 1e6
"""What makes a softmax of standardised logits next to a choice of the greatest."""


class _Block(nn.Module):
    """A pre-activation block whose shortcut always sees normalised values."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv1 = nn.Conv2d(inner, outer, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outer)
        self.conv2 = nn.Conv2d(outer, outer, 3, padding=1, bias=False)
        projection = nn.Conv2d(inner, outer, 1, stride=stride, bias=False)
        self.shortcut = nn.Sequential() if inner == outer and stride == 1 else nn.Sequential(projection)

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.bn1(x))
        change: Tensor = self.conv2(F.relu(self.bn2(self.conv1(active))))
        return change + self.shortcut(active)  # type: ignore[no-any-return]


class _Judge(nn.Module):
    """Decide from the feature maps of both networks, after two of their stages, how far to trust the robust one."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__()
        widths = (first, 512, 768, 1024)
        self.layers = nn.ModuleList(
            nn.Sequential(_Block(inner, outer, 2), _Block(outer, outer, 1)) for inner, outer in pairwise(widths)
        )
        self.conv1x1 = nn.Conv2d(second, widths[1], 1, bias=False)
        self.linear = nn.Linear(widths[-1], 1, bias=False)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        x = self.layers[0](first) + self.conv1x1(second)
        x = self.layers[2](self.layers[1](x))
        return self.linear(x.mean((2, 3)))  # type: ignore[no-any-return]


class AdaptiveMixture(nn.Module):
    """Logarithms of the probabilities of BiT-R152x2 and WRN-70-16, mixed as a third network says for each image.

    Args:
        classes: number of classes.
        normalization: what happens to the images of the robust network first, see `NORMALIZATIONS`.
        scale: of the logits of the accurate network.
        robust_scale: of those of the robust one.
        spread: of what the third network says, whose mean over images is 0 and variance 1 without it.
        offset: added to that.
        least: the least share of the robust network.
        most: its greatest share.
    Source:
        Bai et al. 2024, arXiv:2301.12554.
    """

    def __init__(
        self,
        classes: int,
        normalization: str,
        *,
        scale: float,
        robust_scale: float,
        spread: float,
        offset: float,
        least: float,
        most: float,
    ) -> None:
        super().__init__()
        self.scales = (scale, robust_scale)
        self.spread, self.offset, self.least, self.most = spread, offset, least, most
        self.bn = nn.BatchNorm1d(1, affine=False)
        self.policy_net = _Judge(512 + 256, 1024 + 512)
        accurate, robust = BiTResNet(classes, 152, 2), SwishWideResNet(classes, 70, 16, normalization)
        self.models = nn.ModuleList([accurate, robust])

    def forward(self, x: Tensor) -> Tensor:
        accurate, robust = (model.stages(x) for model in self.models)  # type: ignore[operator]
        trust = self.policy_net(torch.cat([accurate[0], robust[0]], 1), torch.cat([accurate[1], robust[1]], 1))
        share = self.least + (self.most - self.least) * (self.bn(trust) * self.spread + self.offset).sigmoid()
        left, right = (scale * stages[-1] for scale, stages in zip(self.scales, (accurate, robust), strict=True))
        return ((1 - share) * left.softmax(1) + share * right.softmax(1)).log()  # type: ignore[no-any-return]


_PAIRS: Mapping[str, Callable[[int], tuple[nn.Module, nn.Module]]] = {
    "BiT-R152x2 and Ra-WRN-70-16": lambda classes: (
        BiTResNet(classes, 152, 2),
        SwishNetwork(classes, (96, 216, 432, 864), (30, 31, 10), "cifar10", squeezed=4),
    ),
    "BiT-R152x2 and WRN-70-16": lambda classes: (
        BiTResNet(classes, 152, 2),
        SwishWideResNet(classes, 70, 16, "cifar100"),
    ),
    "ConvNeXtV2-L and Swin-L": lambda classes: (
        ConvNeXtV2(classes, 192, (3, 3, 27, 3)),
        SwinTransformer(classes, 192, 6, normalization="imagenet"),
    ),
}


class MixedNuts(nn.Module):
    """Logarithms of the mixed probabilities of an accurate network, which are next to 0 and 1, and of a robust one.

    Args:
        classes: number of classes.
        networks: the accurate and the robust one, see the keys of `_PAIRS`.
        scale: of the robust network's logits, standardised, shifted, bent and raised to the power.
        power: to which they are raised.
        shift: added to them before GELU bends them.
        share: of the robust network.
    Source:
        Bai et al. 2024, arXiv:2402.02263. Differs: the accurate network's probabilities are always next to 0 and 1;
        published, they are exactly 0 and 1 where no gradient is recorded, so that answers depend on whether one is.
    """

    def __init__(self, classes: int, networks: str, *, scale: float, power: float, shift: float, share: float) -> None:
        super().__init__()
        self.scale, self.power, self.shift, self.share = scale, power, shift, share
        self.models = nn.ModuleList(_PAIRS[networks](classes))

    def forward(self, x: Tensor) -> Tensor:
        accurate, robust = (_standardized(model(x).double()) for model in self.models)
        bent = F.gelu(robust + self.shift)
        right = (self.scale * bent.abs() ** self.power * bent.sign()).softmax(1)
        mixed = (1 - self.share) * (_STEEP * accurate).softmax(1) + self.share * right
        return mixed.log().float()


def _standardized(logits: Tensor) -> Tensor:
    greatest = logits.topk(min(_LARGEST, logits.shape[1]), 1).values
    return (logits - greatest.mean(1, keepdim=True)) / (greatest.var(1, keepdim=True) + 1e-8).sqrt()
