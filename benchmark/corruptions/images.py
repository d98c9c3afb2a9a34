"""A single image as corruptions see it, its 8-bit form, and its edges."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

Array: TypeAlias = npt.NDArray[np.float64]
"""An image is (height, width, channels) with 1 or 3 channels, in [0, 1]; a layer is (height, width)."""

LEVELS = 255
_TIE = 2.0**-24
"""A value this little below the middle between two levels counts as the middle: otherwise the last bit of a sum, which
differs between processors, would decide where images and constants are round numbers."""


def to_levels(values: Array) -> npt.NDArray[np.uint8]:
    """Round values to the nearest of 256 levels, halves up; what is outside [0, 1] is clipped."""
    scaled = np.clip(values, 0.0, 1.0) * LEVELS
    levels: npt.NDArray[np.uint8] = np.floor(scaled + (0.5 + _TIE)).astype(np.uint8)
    return levels


def from_levels(levels: npt.NDArray[np.uint8]) -> Array:
    """Return the levels as values in [0, 1]."""
    return levels.astype(np.float64) / LEVELS


def to_picture(image: Array) -> Image.Image:
    """Return the image as Pillow's, grey where it has one channel."""
    levels = to_levels(image)
    return Image.fromarray(levels[:, :, 0] if levels.shape[2] == 1 else levels)


def from_picture(picture: Image.Image) -> Array:
    """Return Pillow's image as ours."""
    levels = np.asarray(picture, dtype=np.uint8)
    return from_levels(levels.reshape(*levels.shape[:2], -1))


def grey(image: Array) -> Array:
    """Return the brightness as people see it, (height, width, 1); a grey image is its own.

    Source:
        ITU-R BT.601, section 2.5.1.
    """
    if image.shape[2] == 1:
        return image
    return 0.299 * image[:, :, :1] + 0.587 * image[:, :, 1:2] + 0.114 * image[:, :, 2:]


def shifted(image: Array, down: int, right: int) -> Array:
    """Return what lies ``down`` and ``right`` of each pixel; past the edge, the edge's pixels."""
    rows = np.clip(np.arange(image.shape[0]) + down, 0, image.shape[0] - 1)
    columns = np.clip(np.arange(image.shape[1]) + right, 0, image.shape[1] - 1)
    return image[rows[:, None], columns]
