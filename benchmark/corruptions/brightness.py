"""Daylight of another intensity: a constant is added to the value, the V of HSV, of every pixel."""

from __future__ import annotations

import numpy as np

from benchmark.corruptions.corruption import Corruption
from benchmark.corruptions.draws import Draws
from benchmark.corruptions.images import Array
from benchmark.corruptions.scale import Scale


def _apply(image: Array, more: float, _scale: Scale, _draws: Draws) -> Array:
    # With hue and saturation kept, the channels grow in proportion; the value is the greatest of them.
    value = image.max(axis=2, keepdims=True)
    brighter = np.minimum(value + more, 1.0)
    brightened: Array = np.where(value > 0, image * brighter / np.where(value > 0, value, 1.0), brighter)
    return brightened


CORRUPTION = Corruption[float](
    small=(0.05, 0.1, 0.15, 0.2, 0.3),
    large=(0.1, 0.2, 0.3, 0.4, 0.5),
    apply=_apply,
)
"""The constants are what is added, where the image's range is 1. In a grey image the value is the pixel."""
