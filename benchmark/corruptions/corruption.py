"""What a corruption consists of: two tables of constants and a function of one image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from benchmark.corruptions.draws import Draws
from benchmark.corruptions.images import Array
from benchmark.corruptions.scale import Scale

Constants = TypeVar("Constants")
Table: TypeAlias = tuple[Constants, Constants, Constants, Constants, Constants]
"""One entry for each severity."""


@dataclass(frozen=True)
class Corruption(Generic[Constants]):
    """One of the paper's corruptions.

    Args:
        small: constants of CIFAR-10-C, for images of 32×32 pixels.
        large: constants of ImageNet-C, for images of 224×224 pixels.
        apply: makes the corrupted image from an image, the constants, the image's scale and its random numbers; may
            leave [0, 1].
    """

    small: Table[Constants]
    large: Table[Constants]
    apply: Callable[[Array, Constants, Scale, Draws], Array]

    def corrupted(self, image: Array, severity: int, draws: Draws) -> Array:
        """Apply the corruption with the constants for the image's size; the result may leave [0, 1]."""
        scale = Scale(min(image.shape[:2]))
        return self.apply(image, (self.small if scale.small else self.large)[severity - 1], scale, draws)
