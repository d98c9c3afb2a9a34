"""A camera that moves: every point is drawn out to one side, within 45 degrees of the horizontal."""

from __future__ import annotations

from benchmark.corruptions.corruption import Corruption
from benchmark.corruptions.draws import Draws
from benchmark.corruptions.images import Array
from benchmark.corruptions.motion import Trail
from benchmark.corruptions.scale import Scale


def _apply(image: Array, trail: Trail, scale: Scale, draws: Draws) -> Array:
    return trail.drawn(image, draws.number(-45.0, 45.0), scale)


CORRUPTION = Corruption[Trail](
    small=(Trail(6, 1), Trail(6, 1.5), Trail(6, 2), Trail(8, 2), Trail(9, 2.5)),
    large=(Trail(10, 3), Trail(15, 5), Trail(15, 8), Trail(15, 12), Trail(20, 15)),
    apply=_apply,
)
