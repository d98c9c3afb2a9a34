"""Fog: a cloud from the diamond-square algorithm is added, and the range brought back to what it was."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmark.corruptions.corruption import Corruption
from benchmark.corruptions.draws import Draws
from benchmark.corruptions.images import Array
from benchmark.corruptions.scale import Scale


@dataclass(frozen=True)
class _Fog:
    """How dense the fog is, and how much smoother it becomes with each halving of the distance."""

    density: float
    smoothness: float


def _apply(image: Array, fog: _Fog, _scale: Scale, draws: Draws) -> Array:
    height, width, _ = image.shape
    side = 1 << (max(height, width) - 1).bit_length()
    cloud = _cloud(side, fog.smoothness, draws)[:height, :width, None]
    brightest = image.max()
    foggy: Array = (image + fog.density * cloud) * brightest / (brightest + fog.density)
    return foggy


def _cloud(side: int, smoothness: float, draws: Draws) -> Array:
    """Return heights from 0 to 1 on a square that repeats itself past its edges.

    Source:
        Fournier, Fussell & Carpenter 1982, Computer rendering of stochastic models.
    """
    heights = np.zeros((side, side))
    distance, roughness = side, 1.0
    while distance >= 2:
        half = distance // 2
        corners = heights[::distance, ::distance]
        right, lower = np.roll(corners, -1, 1), np.roll(corners, -1, 0)
        centres = _between(corners + right + lower + np.roll(lower, -1, 1), roughness, draws)
        heights[half::distance, half::distance] = centres
        above, left = np.roll(centres, 1, 0), np.roll(centres, 1, 1)
        heights[::distance, half::distance] = _between(corners + right + centres + above, roughness, draws)
        heights[half::distance, ::distance] = _between(corners + lower + centres + left, roughness, draws)
        # In the authors' program both the noise and its factor shrink.
        distance, roughness = half, roughness / smoothness**2
    heights -= heights.min()
    cloud: Array = heights / heights.max()
    return cloud


def _between(four: Array, roughness: float, draws: Draws) -> Array:
    """Return the mean of four neighbours, whose sum is given, and noise."""
    return four / 4 + roughness * draws.uniform(-1.0, 1.0, four.shape)


CORRUPTION = Corruption[_Fog](
    small=(_Fog(0.2, 3), _Fog(0.5, 3), _Fog(0.75, 2.5), _Fog(1, 2), _Fog(1.5, 1.75)),
    large=(_Fog(1.5, 2), _Fog(2, 2), _Fog(2.5, 1.7), _Fog(2.5, 1.5), _Fog(3, 1.4)),
    apply=_apply,
)
