"""Single arrays in numpy's .npy files, mapped from the file or from an archive, so that only what is used is read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

from benchmark.data_formats.rows import DOWNLOAD_AGAIN, Rows, rows_of_arrays
from benchmark.data_formats.tar import places_of_members
from benchmark.errors import InvalidData

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SEVERITIES = 5


@dataclass(frozen=True)
class NpyReader:
    """Reads one file of images, (n, h, w, c) of bytes, and one of labels.

    Args:
        images: name of the file.
        labels: likewise.
    """

    images: str
    labels: str

    def __call__(self, folder: Path, split: str) -> Rows:
        """Return the rows; there is one split."""
        path = folder / self.images
        return rows_of_arrays(path, _images(path, open_npy(path)), _labels(folder / self.labels))


@dataclass(frozen=True)
class CorruptedReader:
    """Reads a file for each type of corruption, whose severities follow each other, and one of all their labels.

    Args:
        inside: folder that holds the files, with a slash at its end.
        archive: name of the archive that this folder is in; None where it is unpacked.
    """

    inside: str
    archive: str | None = None

    def __call__(self, folder: Path, split: str) -> Rows:
        """Return the rows of a type at a severity, such as "fog/3"."""
        corruption, _, severity = split.partition("/")
        names = f"{self.inside}{corruption}.npy", f"{self.inside}labels.npy"
        if self.archive is not None:
            path = folder / self.archive
            places = places_of_members(path, names)
            images, labels = (open_npy(path, *places[name]) for name in names)
        else:
            path = folder / names[0]
            images, labels = (open_npy(folder / name) for name in names)
        images, labels = _images(path, images), _checked_labels(path, labels)
        size, rest = divmod(len(images), SEVERITIES)
        if rest or len(labels) != len(images):
            _refuse(path, f"{len(images)} images and {len(labels)} labels", "as many images in each of 5 severities")
        block = slice((int(severity) - 1) * size, int(severity) * size)
        return rows_of_arrays(path, images[block], labels[block])


def open_npy(path: Path, offset: int = 0, size: int | None = None) -> NDArray[Any]:
    """Map the array that a file holds, or a part of a file.

    Args:
        path: of the file.
        offset: where the array's file begins in it.
        size: bytes of the array's file; by default all that follow.
    Raises:
        InvalidData: it is no such file, holds objects of Python, or is longer or shorter than its header says.
    """
    import numpy as np

    end = path.stat().st_size if size is None else offset + size
    try:
        with path.open("rb") as file:
            file.seek(offset)
            shape, fortran, dtype = read_header(file)
            begin = file.tell()
    except ValueError as error:
        _refuse(path, str(error).split("\n", maxsplit=1)[0], "an array in numpy's format")
    if dtype.hasobject:
        _refuse(path, "objects of Python, which are never read", "numbers")
    expected = math.prod(shape) * dtype.itemsize
    if end - begin != expected or expected == 0 or min(shape, default=1) < 0:
        _refuse(path, f"{end - begin:,} bytes of values", f"the {expected:,} of shape {shape} and type {dtype}")
    return np.memmap(path, dtype, "r", begin, shape, "F" if fortran else "C")


def read_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, order and type of the array whose file begins here; the file then stands at its values.

    Raises:
        ValueError: it is no such file.
    """
    from numpy.lib import format as npy

    version = npy.read_magic(file)
    if version == (1, 0):
        return npy.read_array_header_1_0(file)
    if version == (2, 0):
        return npy.read_array_header_2_0(file)
    raise ValueError(f"version {version[0]}.{version[1]} of the format")


def _images(path: Path, images: NDArray[Any]) -> NDArray[Any]:
    if images.ndim != 4 or images.dtype.str != "|u1":
        _refuse(path, f"shape {images.shape} and type {images.dtype}", "images of shape (n, h, w, c), type uint8")
    return images


def _labels(path: Path) -> NDArray[Any]:
    return _checked_labels(path, open_npy(path))


def _checked_labels(path: Path, labels: NDArray[Any]) -> NDArray[Any]:
    if labels.ndim != 1 or labels.dtype.kind not in "ui":
        _refuse(path, f"labels of shape {labels.shape} and type {labels.dtype}", "whole numbers of shape (n,)")
    return labels


def _refuse(path: Path, found: str, expected: str) -> NoReturn:
    raise InvalidData.because(str(path), found=found, expected=expected, remedy=DOWNLOAD_AGAIN)
