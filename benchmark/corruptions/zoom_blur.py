"""A camera that moves towards what it sees: the mean of the image at growing magnifications."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmark.corruptions.corruption import Corruption
from benchmark.corruptions.draws import Draws
from benchmark.corruptions.images import Array
from benchmark.corruptions.magnifying import magnified
from benchmark.corruptions.scale import Scale


@dataclass(frozen=True)
class _Approach:
    """Where the magnifications end, of which the first is 1, and the distance between them."""

    end: float
    step: float


def _apply(image: Array, approach: _Approach, _scale: Scale, _draws: Draws) -> Array:
    # As in the authors' programs, rounding makes the end itself one of them where it is 1.06 or 1.11.
    factors = np.arange(1, approach.end, approach.step)
    blurred: Array = (image + magnified(image, factors).sum(0)) / (len(factors) + 1)
    return blurred


CORRUPTION = Corruption[_Approach](
    small=(
        _Approach(1.06, 0.01),
        _Approach(1.11, 0.01),
        _Approach(1.16, 0.01),
        _Approach(1.21, 0.01),
        _Approach(1.26, 0.01),
    ),
    large=(
        _Approach(1.11, 0.01),
        _Approach(1.16, 0.01),
        _Approach(1.21, 0.02),
        _Approach(1.26, 0.02),
        _Approach(1.31, 0.03),
    ),
    apply=_apply,
)
