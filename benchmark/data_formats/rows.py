"""What every reader gives: the labels of a split, and its images when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import InvalidData

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from benchmark.preprocessing import Preprocessing

    Images = NDArray[Any] | list[NDArray[Any]]
    """(n, h, w, c) where all have one size, else each (h, w, c): uint8, or float32 in [0, 1]."""

DOWNLOAD_AGAIN = "delete the file and get it again"


@dataclass(frozen=True)
class Rows:
    """The points of a split.

    Args:
        labels: (n,), int64.
        images: from positions, and what to do to each image, to the images.
    """

    labels: NDArray[np.int64]
    images: Callable[[Sequence[int], Preprocessing | None], Images]


def rows_of_arrays(path: Path, images: NDArray[Any], labels: NDArray[Any]) -> Rows:
    """Return the rows that arrays hold.

    Args:
        path: of their file, for errors.
        images: (n, h, w, c), uint8, or float32 in [0, 1]; may be mapped from a file, which is then read in parts.
        labels: (n,), integers.
    Raises:
        InvalidData: there are more or fewer labels than images.
    """
    import numpy as np

    if len(images) != len(labels):
        raise InvalidData.because(
            str(path), found=f"{len(images)} images and {len(labels)} labels", expected="a label for each image",
            remedy=DOWNLOAD_AGAIN,
        )  # fmt: skip

    def read(places: Sequence[int], preprocessing: Preprocessing | None) -> Images:
        chosen = images[np.asarray(places, dtype=np.intp)]
        if preprocessing is None:
            return chosen
        if chosen.dtype != np.uint8:
            raise InvalidData.because(
                str(path), found=f"images of type {chosen.dtype}", expected="uint8, to be resized or cropped",
                remedy="leave preprocessing and shape out: only images of bytes are resized here",
            )  # fmt: skip
        return [_prepared(image, preprocessing) for image in chosen]

    return Rows(labels.astype(np.int64), read)


def pixels_of(image: Image) -> NDArray[np.uint8]:
    """Return an image's values, (h, w, c)."""
    import numpy as np

    pixels = np.asarray(image)
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def _prepared(pixels: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.uint8]:
    from PIL import Image

    grey = pixels.shape[-1] == 1
    return pixels_of(preprocessing(Image.fromarray(pixels[:, :, 0] if grey else pixels)))
