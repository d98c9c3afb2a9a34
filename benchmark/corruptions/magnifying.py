"""Magnification about the centre; zoom blur and snow share it.

The authors cut a middle of whole pixels out, enlarge it to whole pixels, and cut that to the image's size, by which
small images also move by up to a pixel. The published images are like that, so these are too. An image below 32 pixels
is magnified as one of 32 would be: six percent of 8 pixels are not a whole one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from benchmark.corruptions.images import Array
from benchmark.corruptions.scale import SMALL_SIDE


def magnified(image: Array, factors: Array) -> Array:
    """Return the image magnified by each of the factors, at least 1, linearly; (factors, height, width, …)."""
    height, width = image.shape[:2]
    finer = max(1.0, SMALL_SIDE / min(height, width))
    tail = (1,) * (image.ndim - 1)
    first, weight = _places(height, round(height * finer), factors)
    weight = weight.reshape(*weight.shape, *tail)
    rows = image[first] * (1 - weight) + image[first + 1] * weight
    first, weight = _places(width, round(width * finer), factors)
    weight = weight.reshape(len(factors), 1, -1, *tail[1:])
    chosen = np.arange(len(factors))[:, None, None], np.arange(height)[:, None]
    larger: Array = rows[*chosen, first[:, None]] * (1 - weight) + rows[*chosen, first[:, None] + 1] * weight
    return larger


def _places(size: int, pixels: int, factors: Array) -> tuple[npt.NDArray[np.int64], Array]:
    """Return between which two of ``size`` pixels each comes to lie, and how far, as if there were ``pixels``."""
    factor = factors[:, None]
    middle = np.ceil(pixels / factor)
    enlarged = np.round(middle * factor)
    shown = (np.arange(size) + 0.5) * (pixels / size) - 0.5 + (enlarged - pixels) // 2
    place = (pixels - middle) // 2 + shown * (middle - 1) / (enlarged - 1)
    place = np.clip((place + 0.5) * (size / pixels) - 0.5, 0, size - 1)
    first = np.minimum(np.floor(place), size - 2).astype(np.int64)
    return first, place - first
