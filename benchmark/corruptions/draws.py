"""Random numbers of one point under one corruption at one severity.

They are a pure function of (seed, corruption, severity, position of the point in the data set) and of what was drawn
before, so no batch, order or thread count moves them. Only the raw bits of Philox are taken from numpy, which promises
never to change those; the transformations are written out, in float64.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from scipy.special import ndtri

from benchmark.corruptions.images import Array


class Draws:
    """The point's own stream.

    Args:
        seed: seed of the run.
        corruption: name of the corruption.
        severity: 1 to 5.
        index: position of the point in the data set.
    """

    def __init__(self, seed: int, corruption: str, severity: int, index: int) -> None:
        digest = hashlib.sha256(f"{seed}/{corruption}/{severity}/{index}".encode()).digest()
        self._bits = np.random.Philox(key=int.from_bytes(digest[:16], "little"))

    def uniform(self, low: float, high: float, shape: Sequence[int]) -> Array:
        """Draw from the open interval between low and high."""
        bits = self._bits.random_raw(int(np.prod(shape, dtype=np.int64))) >> np.uint64(12)
        drawn = (bits.astype(np.float64) + 0.5) * 2.0**-52
        return (low + (high - low) * drawn).reshape(shape)

    def number(self, low: float, high: float) -> float:
        """Draw a single number from the open interval between low and high."""
        return float(self.uniform(low, high, (1,))[0])

    def normal(self, shape: Sequence[int]) -> Array:
        """Draw standard normal numbers, by the inverse of their distribution function."""
        drawn: Array = ndtri(self.uniform(0.0, 1.0, shape))
        return drawn

    def whole(self, low: int, high: int, shape: Sequence[int]) -> Array:
        """Draw whole numbers from low to one less than high."""
        return np.floor(self.uniform(low, high, shape))
