"""The names of the corruptions. Nothing here needs torch or numpy."""

from __future__ import annotations

VERSION = 1
"""Raised with every change that can move a pixel of a corrupted image."""

SEVERITIES: tuple[int, ...] = (1, 2, 3, 4, 5)

CORRUPTIONS: tuple[str, ...] = (
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "defocus_blur",
    "glass_blur",
    "motion_blur",
    "zoom_blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "contrast",
    "elastic_transform",
    "pixelate",
    "jpeg_compression",
)
"""In the order of the paper; each is the file of its name in this folder."""
