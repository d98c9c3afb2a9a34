"""Too few pixels: the image is reduced and enlarged again, both by whole blocks."""

from __future__ import annotations

import math

from PIL import Image

from benchmark.corruptions.corruption import Corruption
from benchmark.corruptions.draws import Draws
from benchmark.corruptions.images import Array, from_picture, to_picture
from benchmark.corruptions.scale import SMALL_SIDE, Scale


def _apply(image: Array, ratio: float, scale: Scale, _draws: Draws) -> Array:
    picture = to_picture(image)
    # Of few pixels several ratios leave the same number; rounded differently along the two sides, they do not.
    half = 0.5 if scale.side < SMALL_SIDE else 0.0
    few = math.floor(picture.width * ratio), math.floor(picture.height * ratio + half)
    blocks = picture.resize(few, Image.Resampling.BOX)
    return from_picture(blocks.resize(picture.size, Image.Resampling.BOX))


CORRUPTION = Corruption[float](
    small=(0.95, 0.9, 0.85, 0.75, 0.65),
    large=(0.6, 0.5, 0.4, 0.3, 0.25),
    apply=_apply,
)
"""The constants are the sides of the reduced image, as shares of those of the image."""
