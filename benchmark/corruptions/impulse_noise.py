"""Errors of single bits: some values become 0 or 1, with equal probability (salt and pepper)."""

from __future__ import annotations

import numpy as np

from benchmark.corruptions.corruption import Corruption
from benchmark.corruptions.draws import Draws
from benchmark.corruptions.images import Array
from benchmark.corruptions.scale import Scale


def _apply(image: Array, fraction: float, _scale: Scale, draws: Draws) -> Array:
    hit = draws.uniform(0.0, 1.0, image.shape) < fraction
    white = draws.uniform(0.0, 1.0, image.shape) < 0.5
    noisy: Array = np.where(hit, np.where(white, 1.0, 0.0), image)
    return noisy


CORRUPTION = Corruption[float](
    small=(0.01, 0.02, 0.03, 0.05, 0.07),
    large=(0.03, 0.06, 0.09, 0.17, 0.27),
    apply=_apply,
)
"""The constants are the fractions of values that are hit; in a colour image, each channel by itself."""
