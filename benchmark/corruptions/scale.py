"""Which of the two tables of constants an image takes, and how their lengths follow its size.

The paper's authors published constants for two sizes: 32 pixels (CIFAR-10-C) and 224 (ImageNet-C). An image takes those
of the size that is nearer in proportion: 32 up to a shorter side of 84, 224 from 85 on. At 32 and at 224 they are used
as they are. This is the rule for every other size:

- Ratios, levels and probabilities stay; so do JPEG's blocks, which the format fixes.
- Lengths in pixels grow and shrink with the shorter side.
- Below 32 pixels most lengths would be less than a pixel, which changes nothing. Trails (motion, snow) shrink to no
  less than half. Discs, blurs and flakes of a pixel or two do not shrink. Displacements by a pixel (glass) happen to
  fewer pixels. Magnification (zoom, snow) is that of an image of 32 pixels. Pixelation rounds the two sides of the
  reduced image differently, so that five severities do not become three.
"""

from __future__ import annotations

from dataclasses import dataclass

SMALL_SIDE = 32
LARGE_SIDE = 224
LEAST_FACTOR = 0.5
"""With a quarter, which would be in proportion, motion at severity 5 costs models of the digits no accuracy."""


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
