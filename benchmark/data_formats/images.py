"""Single image files, decoded by Pillow and made RGB."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from benchmark.data_formats.rows import Rows, pixels_of
from benchmark.errors import InvalidData

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from benchmark.data_formats.rows import Images
    from benchmark.preprocessing import Preprocessing

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".webp"})
_FORMATS = ("BMP", "JPEG", "PNG", "PPM", "WEBP")
_MODES = frozenset({"1", "CMYK", "L", "LA", "P", "PA", "RGB", "RGBA", "YCbCr"})
"""Those of at most 8 bits a channel: 16 bits would be cut off, not scaled."""
MAX_PIXELS = 64 * 1024**2


def rows_of_files(paths: Sequence[Path], labels: NDArray[np.int64]) -> Rows:
    """Return the rows of image files; each is opened when it is asked for."""

    def read(places: Sequence[int], preprocessing: Preprocessing | None) -> Images:
        _require_files(paths, places)
        return [read_image(paths[place], preprocessing) for place in places]

    return Rows(labels, read)


def read_image(path: Path, preprocessing: Preprocessing | None = None) -> NDArray[np.uint8]:
    """Return the values of an image file, (h, w, 3).

    Grey values are repeated, transparency is dropped, and a camera's note of how it was held is not followed: so do the
    programs that published models were trained and tested with.

    Raises:
        InvalidData: it is no image, damaged, too large, or has more than 8 bits a channel.
    """
    from PIL import Image

    try:
        with Image.open(path, formats=_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                _refuse(
                    path, f"{image.width} × {image.height} pixels", f"at most {MAX_PIXELS:,} pixels", "make it smaller"
                )
            if image.mode not in _MODES:
                _refuse(path, f"an image of mode {image.mode}", "8 bits a channel", "save it again as RGB")
            coloured = _in_colour(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        _refuse(path, str(error), f"at most {MAX_PIXELS:,} pixels", "make it smaller")
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises on damaged files, by format
        reason = str(error).replace(str(path), "it")
        _refuse(
            path, reason, f"an image in one of the formats {', '.join(_FORMATS)}", "delete the file, or get it again"
        )
    return pixels_of(coloured if preprocessing is None else preprocessing(coloured))


def _require_files(paths: Sequence[Path], places: Sequence[int]) -> None:
    """See that the files are there; where one is not, tell how many are missing of all."""
    first = next((paths[place] for place in places if not paths[place].is_file()), None)
    if first is not None:
        missing = sum(not path.is_file() for path in paths)
        _refuse(
            first, f"no file; {missing:,} of {len(paths):,} images are missing", "an image file",
            "put the images there, or look at the layout that docs/data.md describes",
        )  # fmt: skip


def _in_colour(image: Image) -> Image:
    if image.mode == "P" and isinstance(image.info.get("transparency"), bytes):
        return image.convert("RGBA").convert("RGB")
    return image.convert("RGB")


def _refuse(path: Path, found: str, expected: str, remedy: str) -> NoReturn:
    raise InvalidData.because(str(path), found=found, expected=expected, remedy=remedy)
