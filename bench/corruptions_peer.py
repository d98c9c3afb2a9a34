"""Corrupt images with somebody else's programs; run by bench.corruptions with the interpreter that has what they need.

    PEER/bin/python bench/corruptions_peer.py SOURCE IMAGES.npy DRAWS RESULTS.npz

SOURCE is the package imagecorruptions or the path of one of the authors' programs. Images are (n, height, width, 3)
uint8. Results are an array for each corruption by name, (draws, severities, n, height, width, 3): every image is
corrupted that many times. Nothing here needs this repository.
"""

from __future__ import annotations

import ast
import sys
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

SEVERITIES = (1, 2, 3, 4, 5)
OF_THE_PACKAGE = ("motion_blur", "snow", "frost")
"""What the authors' programs make with ImageMagick and with photographs, and the package without ImageMagick."""
IMPORTS = """
from io import BytesIO

import cv2
import numpy as np
import skimage as sk
import skimage.color, skimage.util
from PIL import Image as PILImage
from scipy.ndimage import map_coordinates, zoom as scizoom
"""
"""Of what the authors' programs import, what their functions need."""

Corrupt = Callable[[Any, int], Any]


def gaussian(image: Any, sigma: Any, multichannel: bool = False, **rest: Any) -> Any:
    """Blur as scikit-image does, under the name that an argument had once."""
    smooth = import_module("skimage.filters").gaussian
    return smooth(image, sigma, channel_axis=-1 if multichannel else None, **rest)


def package() -> Mapping[str, Corrupt]:
    module = import_module("imagecorruptions")

    def corrupt(name: str, image: Any, severity: int) -> Any:
        return module.corrupt(image, corruption_name=name, severity=severity)

    return {name: partial(corrupt, name) for name in OF_THE_PACKAGE}


def authors(program: Path) -> Mapping[str, Corrupt]:
    """Return the functions of the authors' program, which as a whole would read data sets and write files."""
    tree = ast.parse(program.read_text(encoding="utf-8"))
    functions = [ast.unparse(node) for node in tree.body if isinstance(node, ast.FunctionDef)]
    pillow = import_module("PIL.Image")
    with TemporaryDirectory() as folder:
        Path(folder, "authors_functions.py").write_text("\n".join((IMPORTS, *functions)), encoding="utf-8")
        sys.path.insert(0, folder)
        module = import_module("authors_functions")
    module.__dict__["gaussian"] = gaussian

    def corrupt(name: str, image: Any, severity: int) -> Any:
        return np.uint8(getattr(module, name)(pillow.fromarray(image), severity))

    names = import_module("imagecorruptions").get_corruption_names("common")
    return {name: partial(corrupt, name) for name in names if name not in OF_THE_PACKAGE}


def main() -> None:
    source, images, draws = sys.argv[1], np.load(sys.argv[2]), int(sys.argv[3])
    warnings.simplefilter("ignore")
    results: dict[str, Any] = {}
    np.random.seed(0)
    for name, corrupt in (package() if source == "imagecorruptions" else authors(Path(source))).items():
        corrupted = np.empty((draws, len(SEVERITIES), *images.shape), dtype=np.uint8)
        for draw, j, k in np.ndindex(corrupted.shape[:3]):
            corrupted[draw, j, k] = corrupt(images[k], SEVERITIES[j])
        results[name] = corrupted
    np.savez(sys.argv[4], **results)


if __name__ == "__main__":
    main()
