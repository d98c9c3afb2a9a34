"""The trail that a moving camera or a falling flake leaves; motion blur and snow share it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from benchmark.corruptions.images import Array, shifted
from benchmark.corruptions.scale import Scale


@dataclass(frozen=True)
class Trail:
    """Half the trail's length, and the standard deviation of the half Gaussian along which it fades."""

    radius: float
    fading: float

    def drawn(self, layer: Array, degrees: float, scale: Scale) -> Array:
        """Return the layer with every pixel drawn out to one side, at that angle from the horizontal.

        Source:
            The rule by which ImageMagick's motion blur weighs and places its pixels.
        """
        steps = np.arange(2 * math.ceil(scale.length(self.radius)) + 1)
        weights = np.exp(-(steps**2) / (2 * scale.length(self.fading) ** 2))
        weights /= weights.sum()
        down = np.ceil(steps * math.sin(math.radians(degrees)) - 0.5).astype(int).tolist()
        right = np.ceil(steps * math.cos(math.radians(degrees)) - 0.5).astype(int).tolist()
        blurred = np.zeros_like(layer)
        for weight, lower, farther in zip(weights.tolist(), down, right, strict=True):
            blurred += weight * shifted(layer, lower, farther)
        return blurred
