"""A picture on rubber: a random affine map, then a random smooth displacement of every pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from benchmark.corruptions.corruption import Corruption
from benchmark.corruptions.draws import Draws
from benchmark.corruptions.images import Array
from benchmark.corruptions.scale import SMALL_SIDE, Scale

_PUBLISHED_SIDE = 244
"""What stands for the side in the constants of ImageNet-C; the authors note that 224 was meant."""


@dataclass(frozen=True)
class _Rubber:
    """How far pixels move before smoothing, the smoothing's deviation, how far the affine map's corners move."""

    amplitude: float
    smoothing: float
    corners: float

    def times(self, factor: float) -> _Rubber:
        return _Rubber(self.amplitude * factor, self.smoothing * factor, self.corners * factor)


def _apply(image: Array, rubber: _Rubber, scale: Scale, draws: Draws) -> Array:
    stretched = _affine(image, scale.proportional(rubber.corners), draws)
    height, width, _ = image.shape
    down, right = (
        scale.proportional(rubber.amplitude) * _smooth(height, width, scale.proportional(rubber.smoothing), draws)
        for _ in range(2)
    )
    return _sampled(stretched, np.arange(height)[:, None] + down, np.arange(width) + right, "reflect")


def _affine(image: Array, farthest: float, draws: Draws) -> Array:
    """Map three corners of a square in the middle to places near them, and everything else along with them."""
    height, width, _ = image.shape
    middle = np.array([height // 2, width // 2])
    arm = min(height, width) // 3
    corners = middle + np.array([[arm, arm], [-arm, arm], [-arm, -arm]])
    moved = corners + draws.uniform(-farthest, farthest, (3, 2))
    # The edges of the moved triangle, as columns, are the images of the edges of the triangle.
    (a, b), (c, d) = (moved[0] - moved[1]) / (2 * arm), (moved[1] - moved[2]) / (2 * arm)
    rows, columns = np.arange(height)[:, None] - moved[1][0], np.arange(width) - moved[1][1]
    area = a * d - b * c
    down = (d * rows - c * columns) / area
    right = (a * columns - b * rows) / area
    return _sampled(image, down + corners[1][0], right + corners[1][1], "mirror")


def _smooth(height: int, width: int, deviation: float, draws: Draws) -> Array:
    noise = draws.uniform(-1.0, 1.0, (height, width))
    smooth: Array = ndimage.gaussian_filter(noise, deviation, mode="reflect", truncate=3)
    return smooth


def _sampled(image: Array, rows: Array, columns: Array, beyond: str) -> Array:
    """Return the image at those places, between pixels linearly."""
    places = np.stack(np.broadcast_arrays(rows, columns))
    channels = [
        ndimage.map_coordinates(image[:, :, channel], places, order=1, mode=beyond) for channel in range(image.shape[2])
    ]
    return np.stack(channels, axis=2)


def _small(amplitude: float, smoothing: float, corners: float) -> _Rubber:
    return _Rubber(amplitude, smoothing, corners).times(SMALL_SIDE)


def _large(amplitude: float, smoothing: float, corners: float) -> _Rubber:
    return _Rubber(amplitude, smoothing, corners).times(_PUBLISHED_SIDE)


CORRUPTION = Corruption[_Rubber](
    small=(
        _small(0, 0, 0.08),
        _small(0.05, 0.2, 0.07),
        _small(0.08, 0.06, 0.06),
        _small(0.1, 0.04, 0.05),
        _small(0.1, 0.03, 0.03),
    ),
    large=(
        _large(2, 0.7, 0.1),
        _large(2, 0.08, 0.2),
        _large(0.05, 0.01, 0.02),
        _large(0.07, 0.01, 0.02),
        _large(0.12, 0.01, 0.02),
    ),
    apply=_apply,
)
"""The constants are shares of the side."""
