"""Noise as in low light: a normal number is added to every value of every pixel."""

from __future__ import annotations

from benchmark.corruptions.corruption import Corruption
from benchmark.corruptions.draws import Draws
from benchmark.corruptions.images import Array
from benchmark.corruptions.scale import Scale


def _apply(image: Array, deviation: float, _scale: Scale, draws: Draws) -> Array:
    return image + deviation * draws.normal(image.shape)


CORRUPTION = Corruption[float](
    small=(0.04, 0.06, 0.08, 0.09, 0.10),
    large=(0.08, 0.12, 0.18, 0.26, 0.38),
    apply=_apply,
)
"""The constants are standard deviations, where the image's range is 1."""
