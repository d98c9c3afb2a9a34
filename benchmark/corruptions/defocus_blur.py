"""A lens out of focus: every point becomes a disc."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from benchmark.corruptions.corruption import Corruption
from benchmark.corruptions.draws import Draws
from benchmark.corruptions.images import Array
from benchmark.corruptions.scale import Scale


@dataclass(frozen=True)
class _Disc:
    """Radius of the disc, and standard deviation of the Gaussian that softens its edge."""

    radius: float
    softness: float


def _apply(image: Array, disc: _Disc, scale: Scale, _draws: Draws) -> Array:
    # The authors cut the Gaussian off at one pixel, and at two for discs of more than eight.
    cut = max(1, round(scale.short_length(2 if disc.radius > 8 else 1)))
    kernel = _kernel(scale.short_length(disc.radius), scale.short_length(disc.softness), cut)
    blurred: Array = ndimage.correlate(image, kernel[:, :, None], mode="mirror")
    return blurred


def _kernel(radius: float, softness: float, cut: int) -> Array:
    reach = math.floor(radius) + cut
    square = np.arange(-reach, reach + 1) ** 2
    disc = (square[:, None] + square <= radius**2).astype(np.float64)
    edge = np.exp(-(np.arange(-cut, cut + 1) ** 2) / (2 * softness**2))
    for axis in (0, 1):
        disc = ndimage.correlate1d(disc, edge, axis=axis, mode="constant")
    kernel: Array = disc / disc.sum()
    return kernel


CORRUPTION = Corruption[_Disc](
    small=(_Disc(0.3, 0.4), _Disc(0.4, 0.5), _Disc(0.5, 0.6), _Disc(1, 0.2), _Disc(1.5, 0.1)),
    large=(_Disc(3, 0.1), _Disc(4, 0.5), _Disc(6, 0.5), _Disc(8, 0.5), _Disc(10, 0.5)),
    apply=_apply,
)
