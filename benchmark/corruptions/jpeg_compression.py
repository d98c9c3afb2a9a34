"""JPEG: the image is written to a file with loss and read again."""

from __future__ import annotations

from io import BytesIO

from PIL import Image

from benchmark.corruptions.corruption import Corruption
from benchmark.corruptions.draws import Draws
from benchmark.corruptions.images import Array, from_picture, to_picture
from benchmark.corruptions.scale import Scale


def _apply(image: Array, quality: int, _scale: Scale, _draws: Draws) -> Array:
    file = BytesIO()
    to_picture(image).save(file, "JPEG", quality=quality)
    with Image.open(file) as picture:
        return from_picture(picture)


CORRUPTION = Corruption[int](small=(80, 65, 58, 50, 40), large=(25, 18, 15, 10, 7), apply=_apply)
"""The constants are qualities as libjpeg counts them. Blocks have 8×8 pixels in images of every size."""
