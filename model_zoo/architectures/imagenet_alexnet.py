"""torchvision's AlexNet, with what happens to the images first inside."""

from __future__ import annotations

from torch import Tensor

from model_zoo.architectures.normalization import normalization as named
from model_zoo.architectures.torchvision_models import models


class ImageNetAlexNet(models("alexnet").AlexNet):  # type: ignore[misc] # torchvision has no types
    """AlexNet, with torchvision's names of parameters.

    Args:
        classes: number of classes.
        normalization: what happens to the images first, see `NORMALIZATIONS`.
    Source:
        Krizhevsky 2014, arXiv:1404.5997.
    """

    def __init__(self, classes: int, normalization: str = "imagenet") -> None:
        super().__init__(num_classes=classes)
        self.normalization = named(normalization)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.normalization(x))  # type: ignore[no-any-return]
