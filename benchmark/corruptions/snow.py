"""Falling snow: bright flakes with a trail, once more upside down, over a scene that has become paler."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmark.corruptions.corruption import Corruption
from benchmark.corruptions.draws import Draws
from benchmark.corruptions.images import Array, from_levels, grey, to_levels
from benchmark.corruptions.magnifying import magnified
from benchmark.corruptions.motion import Trail
from benchmark.corruptions.scale import Scale


@dataclass(frozen=True)
class _Snow:
    """Mean and deviation of the noise, its magnification, what is no flake, the trail, and the share of the scene."""

    mean: float
    deviation: float
    size: float
    least: float
    trail: Trail
    scene: float


def _apply(image: Array, snow: _Snow, scale: Scale, draws: Draws) -> Array:
    noise = snow.mean + snow.deviation * draws.normal(image.shape[:2])
    size = scale.short_length(snow.size)
    flakes = magnified(noise, np.array([size]))[0]
    flakes[flakes < snow.least] = 0.0
    falling = snow.trail.drawn(np.clip(flakes, 0.0, 1.0), draws.number(-135.0, -45.0), scale)
    layer = from_levels(to_levels(falling))[:, :, None]
    pale = np.maximum(image, grey(image) * 1.5 + 0.5)
    snowy: Array = snow.scene * image + (1 - snow.scene) * pale + layer + layer[::-1, ::-1]
    return snowy


CORRUPTION = Corruption[_Snow](
    small=(
        _Snow(0.1, 0.2, 1, 0.6, Trail(8, 3), 0.95),
        _Snow(0.1, 0.2, 1, 0.5, Trail(10, 4), 0.9),
        _Snow(0.15, 0.3, 1.75, 0.55, Trail(10, 4), 0.9),
        _Snow(0.25, 0.3, 2.25, 0.6, Trail(12, 6), 0.85),
        _Snow(0.3, 0.3, 1.25, 0.65, Trail(14, 12), 0.8),
    ),
    large=(
        _Snow(0.1, 0.3, 3, 0.5, Trail(10, 4), 0.8),
        _Snow(0.2, 0.3, 2, 0.5, Trail(12, 4), 0.7),
        _Snow(0.55, 0.3, 4, 0.9, Trail(12, 8), 0.7),
        _Snow(0.55, 0.3, 4.5, 0.85, Trail(12, 8), 0.65),
        _Snow(0.55, 0.3, 2.5, 0.85, Trail(12, 12), 0.55),
    ),
    apply=_apply,
)
