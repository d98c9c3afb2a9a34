"""A camera that moves towards what it sees: the mean of the image at growing magnifications.

Differs from the authors' programs: the magnification is exact, where theirs rounds the magnified image to whole pixels,
which in small images leaves nothing of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmark.corruptions.corruption import Corruption
from benchmark.corruptions.draws import Draws
from benchmark.corruptions.images import Array, magnified
from benchmark.corruptions.scale import Scale


@dataclass(frozen=True)
class _Approach:
    """Number of magnifications, of which the first is 1, and the distance between them in percent."""

    magnifications: int
    percent: int


def _apply(image: Array, approach: _Approach, _scale: Scale, _draws: Draws) -> Array:
    factors = 1 + np.arange(approach.magnifications) * approach.percent / 100
    blurred: Array = (image + magnified(image, factors).sum(0)) / (approach.magnifications + 1)
    return blurred


CORRUPTION = Corruption[_Approach](
    small=(_Approach(7, 1), _Approach(12, 1), _Approach(16, 1), _Approach(21, 1), _Approach(26, 1)),
    large=(_Approach(12, 1), _Approach(16, 1), _Approach(11, 2), _Approach(13, 2), _Approach(11, 3)),
    apply=_apply,
)
