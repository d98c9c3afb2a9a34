"""Low contrast: every channel shrinks towards its mean over the image."""

from __future__ import annotations

from benchmark.corruptions.corruption import Corruption
from benchmark.corruptions.draws import Draws
from benchmark.corruptions.images import Array
from benchmark.corruptions.scale import Scale


def _apply(image: Array, left: float, _scale: Scale, _draws: Draws) -> Array:
    mean = image.mean(axis=(0, 1), keepdims=True)
    flat: Array = (image - mean) * left + mean
    return flat


CORRUPTION = Corruption[float](
    small=(0.75, 0.5, 0.4, 0.3, 0.15),
    large=(0.4, 0.3, 0.2, 0.1, 0.05),
    apply=_apply,
)
"""The constants are the share of the contrast that is left."""
