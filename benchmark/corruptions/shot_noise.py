"""Noise of the light itself: every value becomes a count of photons, which is Poisson distributed."""

from __future__ import annotations

from functools import cache

import numpy as np

from benchmark.corruptions.corruption import Corruption
from benchmark.corruptions.draws import Draws
from benchmark.corruptions.images import LEVELS, Array, to_levels
from benchmark.corruptions.scale import Scale


def _apply(image: Array, photons: int, _scale: Scale, draws: Draws) -> Array:
    distribution = _distributions(photons)
    level = to_levels(image).astype(np.int64)
    # Row after row in one ascending list: the numbers of row i lie between i and i + 1.
    place = np.searchsorted(distribution.ravel(), level + draws.uniform(0.0, 1.0, image.shape), side="right")
    counts: Array = (place - level * distribution.shape[1]).astype(np.float64)
    return counts / photons


@cache
def _distributions(photons: int) -> Array:
    """Return i plus the distribution function of the count for level i, (256, counts)."""
    mean = np.arange(LEVELS + 1) * (photons / LEVELS)
    # Six standard deviations above the mean lies less than 1e-8 of the distribution.
    counts = int(photons + 6 * photons**0.5) + 12
    ratios = mean[:, None] / np.arange(1, counts)
    terms = np.cumprod(np.concatenate((np.exp(-mean)[:, None], ratios), axis=1), axis=1)
    rows: Array = np.arange(LEVELS + 1)[:, None] + np.minimum(np.cumsum(terms, axis=1), 1.0)
    rows[:, -1] = np.arange(LEVELS + 1) + 1.0
    return rows


CORRUPTION = Corruption[int](small=(500, 250, 100, 75, 50), large=(60, 25, 12, 5, 3), apply=_apply)
"""The constants are the photons that a white pixel receives on average."""
