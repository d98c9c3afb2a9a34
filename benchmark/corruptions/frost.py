"""Frost on a lens: crystals lie over the image.

Differs from the authors' programs: they lay photographs of frosted glass over the image, which are not ours to pass
on. Here the frost is drawn: the pane is divided among seeds, from each of which needles branch off a shaft in a
direction of its own, over ice of uneven thickness. Brightness, tint and contrast vary from image to image about as they
do among the photographs; the shapes are as large beside an image of any size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from benchmark.corruptions.corruption import Corruption
from benchmark.corruptions.draws import Draws
from benchmark.corruptions.images import Array
from benchmark.corruptions.scale import Scale

_TINT = np.array([0.89, 1.02, 1.09])
"""Mean colour of the photographs, as a multiple of their mean brightness."""
_BRIGHTNESS = (0.45, 0.82)
"""Between which the mean brightness of most photographs lies."""
_CONTRAST = (0.07, 0.16)
"""Between which the standard deviation of their brightness lies."""
_CRYSTALS = 16


@dataclass(frozen=True)
class _Frost:
    """Shares of the scene and of the frost."""

    scene: float
    frost: float


def _apply(image: Array, frost: _Frost, _scale: Scale, draws: Draws) -> Array:
    height, width, channels = image.shape
    pane = _pane(height, width, draws)[:, :, None]
    frosted: Array = frost.scene * image + frost.frost * (pane * _TINT if channels == 3 else pane)
    return frosted


def _pane(height: int, width: int, draws: Draws) -> Array:
    """Return how bright a frosted pane is in front of something dark."""
    relief = 0.7 * _crystals(height, width, draws) + 0.35 * _ice(height, width, draws)
    relief = (relief - relief.mean()) / relief.std()
    pane: Array = np.clip(draws.number(*_BRIGHTNESS) + draws.number(*_CONTRAST) * relief, 0.0, 1.0)
    return pane


def _crystals(height: int, width: int, draws: Draws) -> Array:
    """Return a feather of needles around each of some seeds, in the part of the pane that is nearest to it."""
    side = min(height, width)
    seeds = draws.uniform(-0.1, 1.1, (_CRYSTALS, 2)) * (height, width)
    angles = draws.uniform(0.0, 2 * math.pi, (_CRYSTALS,))
    spacings = np.maximum(draws.uniform(side / 36, side / 12, (_CRYSTALS,)), 2.0)
    # Bent coordinates bend the needles and the borders between crystals.
    down = np.arange(height)[:, None] + side / 14 * _waves(height, width, side / 4, draws)
    right = np.arange(width) + side / 14 * _waves(height, width, side / 4, draws)
    nearest = np.argmin((down[:, :, None] - seeds[:, 0]) ** 2 + (right[:, :, None] - seeds[:, 1]) ** 2, axis=2)
    down, right, angle = down - seeds[nearest, 0], right - seeds[nearest, 1], angles[nearest]
    along = down * np.sin(angle) + right * np.cos(angle)
    across = np.abs(right * np.sin(angle) - down * np.cos(angle))
    needles = 1 - np.abs(2 * (((along - across) / spacings[nearest]) % 1) - 1)
    frayed = 0.5 + 0.3 * _waves(height, width, side / 5, draws) + 0.3 * _waves(height, width, side / 40, draws)
    crystals: Array = (needles**1.5 - 0.4) * np.maximum(frayed, 0.0) + 0.6 * np.exp(-across * (40 / side))
    return crystals


def _ice(height: int, width: int, draws: Draws) -> Array:
    """Return waves of half the pane's length and of all shorter ones, each weaker than the one before."""
    ice = np.zeros((height, width))
    length, height_of_waves = min(height, width) / 2, 1.0
    while length >= 1:
        ice += height_of_waves * _waves(height, width, length, draws)
        length, height_of_waves = length / 2, height_of_waves * 0.65
    return ice


def _waves(height: int, width: int, length: float, draws: Draws) -> Array:
    """Return smooth noise between -1 and 1 whose values are drawn at distances of ``length`` pixels, or of one."""
    length = max(length, 1.0)
    drawn = draws.uniform(-1.0, 1.0, (math.ceil(height / length) + 2, math.ceil(width / length) + 2))
    rows = np.arange(height) / length + draws.number(0.0, 1.0)
    columns = np.arange(width) / length + draws.number(0.0, 1.0)
    first, left = np.floor(rows).astype(int)[:, None], np.floor(columns).astype(int)
    down, right = _eased(rows[:, None] - first), _eased(columns - left)
    upper = drawn[first, left] * (1 - right) + drawn[first, left + 1] * right
    lower = drawn[first + 1, left] * (1 - right) + drawn[first + 1, left + 1] * right
    waves: Array = upper * (1 - down) + lower * down
    return waves


def _eased(share: Array) -> Array:
    return share * share * (3 - 2 * share)


CORRUPTION = Corruption[_Frost](
    small=(_Frost(1, 0.2), _Frost(1, 0.3), _Frost(0.9, 0.4), _Frost(0.85, 0.4), _Frost(0.75, 0.45)),
    large=(_Frost(1, 0.4), _Frost(0.8, 0.6), _Frost(0.7, 0.7), _Frost(0.65, 0.7), _Frost(0.6, 0.75)),
    apply=_apply,
)
