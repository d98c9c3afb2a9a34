"""torchvision's residual networks for large images, with what happens to the images first inside."""

from __future__ import annotations

from torch import Tensor

from model_zoo.architectures.normalization import normalization as named
from model_zoo.architectures.torchvision_models import models

_resnet = models("resnet")
_DEPTHS = {18: (_resnet.BasicBlock, (2, 2, 2, 2)), 50: (_resnet.Bottleneck, (3, 4, 6, 3))}


class ImageNetResNet(_resnet.ResNet):  # type: ignore[misc,name-defined] # torchvision has no types
    """ResNet-18, ResNet-50 or Wide-ResNet-50-2, with torchvision's names of parameters.

    Args:
        classes: number of classes.
        depth: 18 or 50.
        width: factor of the channels within bottlenecks.
        normalization: what happens to the images first, see `NORMALIZATIONS`.
    Source:
        He et al. 2016, arXiv:1512.03385; Zagoruyko & Komodakis 2016, arXiv:1605.07146.
    """

    def __init__(self, classes: int, depth: int, width: int = 1, normalization: str = "imagenet") -> None:
        block, blocks = _DEPTHS[depth]
        super().__init__(block, blocks, num_classes=classes, width_per_group=64 * width)
        self.normalization = named(normalization)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.normalization(x))  # type: ignore[no-any-return]
