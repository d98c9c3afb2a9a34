"""Which of the two tables of constants an image takes, and how their lengths follow its size.

The paper's authors published constants for two sizes: 32 pixels (CIFAR-10-C) and 224 (ImageNet-C). An image takes those
of the size that is nearer in proportion: 32 up to a shorter side of 84, 224 from 85 on. At 32 and at 224 they are used
as they are. This is the rule for every other size:

- Ratios, levels and probabilities stay; so do JPEG's blocks, which the format fixes.
- Lengths in pixels grow and shrink with the shorter side.
- Below 32 pixels, lengths of several pixels (trails of motion and snow) shrink to no less than half; those of a pixel
  or two (discs of the defocus, blurs and displacements of the glass, flakes) do not shrink, because half of one reaches
  no neighbour. Glass then moves fewer pixels instead.
- Few pixels leave few sizes to reduce an image to: below 32 pixels, pixelation rounds them differently along the two
  sides, and severities stay apart.
"""

from __future__ import annotations

from dataclasses import dataclass

SMALL_SIDE = 32
LARGE_SIDE = 224
LEAST_FACTOR = 0.5
"""Measured on the digits, 8×8: with a quarter, motion left them as they were up to severity 3."""


@dataclass(frozen=True)
class Scale:
    """The size of an image beside that for which constants were published.

    Args:
        side: its shorter side in pixels.
    """

    side: int

    @property
    def small(self) -> bool:
        """Whether 32 is nearer than 224, as a ratio."""
        return self.side**2 < SMALL_SIDE * LARGE_SIDE

    @property
    def factor(self) -> float:
        """The shorter side as a multiple of the one that the constants are for."""
        return self.side / (SMALL_SIDE if self.small else LARGE_SIDE)

    def proportional(self, pixels: float) -> float:
        """Return a length that has no least size, such as a displacement."""
        return pixels * self.factor

    def length(self, pixels: float) -> float:
        """Return a length of several pixels."""
        return pixels * (max(self.factor, LEAST_FACTOR) if self.small else self.factor)

    def short_length(self, pixels: float) -> float:
        """Return a length that is a pixel or two in small images."""
        return pixels * (max(self.factor, 1.0) if self.small else self.factor)
