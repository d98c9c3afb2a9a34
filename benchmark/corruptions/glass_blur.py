"""Frosted glass: pixels change places with their neighbours, between two slight Gaussian blurs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from benchmark.corruptions.corruption import Corruption
from benchmark.corruptions.draws import Draws
from benchmark.corruptions.images import Array
from benchmark.corruptions.scale import Scale


@dataclass(frozen=True)
class _Glass:
    """Standard deviation of the blurs, farthest displacement and number of passes."""

    blur: float
    farthest: int
    passes: int


def _apply(image: Array, glass: _Glass, scale: Scale, draws: Draws) -> Array:
    blur = scale.short_length(glass.blur)
    farthest = max(1, round(scale.short_length(glass.farthest)))
    # No pixel can move by a part of one; instead, fewer pixels move.
    moving = min(1.0, scale.proportional(glass.farthest) / farthest)
    height, width, channels = image.shape
    places = _displaced(height, width, farthest, moving, glass.passes, draws)
    seen = _blurred(image, blur).reshape(-1, channels)[places].reshape(image.shape)
    return _blurred(seen, blur)


def _displaced(
    height: int, width: int, farthest: int, moving: float, passes: int, draws: Draws
) -> npt.NDArray[np.int64]:
    """Return which pixel is seen at each place.

    From the lower right to the upper left each pixel that moves takes what is now seen at a place near it. The paper
    speaks of an exchange; in the published images the other pixel keeps what it had, and so it does here.
    """
    seen = list(range(height * width))
    rows, columns = range(height - farthest, farthest, -1), range(width - farthest, farthest, -1)
    for _ in range(passes):
        moves = draws.whole(-farthest, farthest, (len(rows), len(columns), 2)).astype(np.int64)
        moves *= draws.uniform(0.0, 1.0, (len(rows), len(columns), 1)) < moving
        offsets = (moves[:, :, 0] * width + moves[:, :, 1]).tolist()
        for row, along in zip(rows, offsets, strict=True):
            for column, offset in zip(columns, along, strict=True):
                place = row * width + column
                seen[place] = seen[place + offset]
    return np.array(seen, dtype=np.int64)


def _blurred(image: Array, deviation: float) -> Array:
    blurred: Array = ndimage.gaussian_filter(image, (deviation, deviation, 0), mode="nearest")
    return blurred


CORRUPTION = Corruption[_Glass](
    small=(_Glass(0.05, 1, 1), _Glass(0.25, 1, 1), _Glass(0.4, 1, 1), _Glass(0.25, 1, 2), _Glass(0.4, 1, 2)),
    large=(_Glass(0.7, 1, 2), _Glass(0.9, 2, 1), _Glass(1, 2, 3), _Glass(1.1, 3, 2), _Glass(1.5, 4, 2)),
    apply=_apply,
)
