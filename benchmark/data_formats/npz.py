"""Images and labels that somebody saved with numpy.savez. Nothing in such a file is trusted."""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from benchmark.data_formats.npy import read_header
from benchmark.data_formats.rows import Rows, rows_of_arrays
from benchmark.errors import InvalidData

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_BYTES = 16 * 1024**3
_CHANNELS = (1, 3)
_SAVE = "save it with numpy.savez(file, x=images, y=labels)"


def open_npz(path: Path, split: str = "test") -> Rows:
    """Return the rows of a file with images and labels.

    Args:
        path: of the file. It holds x and y, or images and labels, or both under names such as x_test and y_test. The
            images are of bytes, or of floats in [0, 1]; channels may be first or last.
        split: which, where there are several.
    Raises:
        InvalidData: the file does not hold that.
    """
    pairs = ((f"x_{split}", f"y_{split}"), *((("x", "y"), ("images", "labels")) if split == "test" else ()))
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            found = next((pair for pair in pairs if {f"{name}.npy" for name in pair} <= names), None)
            if found is None:
                there = ", ".join(sorted(name.removesuffix(".npy") for name in names)) or "nothing"
                _refuse(path, there, " or ".join(map(" and ".join, pairs)), _SAVE)
            images, labels = (_array(path, archive, name) for name in found)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        _refuse(path, f"{type(error).__name__}: {error}", "a file that numpy.savez wrote", _SAVE)
    return rows_of_arrays(path, _checked_images(path, images), _checked_labels(path, labels))


def _array(path: Path, archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    import numpy as np

    member = archive.getinfo(f"{name}.npy")
    with archive.open(member) as file:
        try:
            shape, fortran, dtype = read_header(file)  # type: ignore[arg-type] # it reads as a file does
        except ValueError as error:
            _refuse(path, f"{name}: {error}", "an array in numpy's format", _SAVE)
        size = math.prod(shape) * dtype.itemsize
        if dtype.kind not in "uif":
            _refuse(path, f"{name} of type {dtype}", "numbers", "save arrays of uint8 or float32, and whole labels")
        if not 0 < size <= min(member.file_size, MAX_BYTES):
            _refuse(
                path, f"{name} of shape {shape} in {member.file_size:,} bytes",
                f"all of its values, and at most {MAX_BYTES:,} bytes", "save an image at least, and no more than fit",
            )  # fmt: skip
        values = file.read(size)
        if len(values) != size or file.read(1):
            _refuse(path, f"{name} is cut off, or longer than its header says", f"shape {shape}", _SAVE)
    return np.frombuffer(values, dtype).reshape(shape, order="F" if fortran else "C")


def _checked_images(path: Path, images: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    images = _channels_last(path, images)
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind != "f":
        _refuse(path, f"images of type {images.dtype}", "uint8, or floats in [0, 1]", "save images.astype(numpy.uint8)")
    low, high = float(images.min()), float(images.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        bad = ~np.isfinite(images).reshape(len(images), -1).all(1)
        _refuse(
            path, f"{int(bad.sum())} images with values that are no numbers, the first at {int(bad.argmax())}",
            "finite values", "look at how they were made",
        )  # fmt: skip
    if low < 0 or high > 1:
        bytewise = low >= 0 and high <= 255
        remedy = "divide by 255" if bytewise else "undo the normalisation: it belongs inside the model"
        _refuse(path, f"values from {low:g} to {high:g}", "values from 0 to 1", remedy)
    return images.astype(np.float32)


def _channels_last(path: Path, images: NDArray[Any]) -> NDArray[Any]:
    """Return the images as (n, h, w, c), where their shape leaves no doubt which dimension is which."""
    if images.ndim == 3:
        return images[..., None]
    if images.ndim != 4:
        _refuse(path, f"images of shape {images.shape}", "(n, h, w, c), (n, c, h, w) or (n, h, w)", _SAVE)
    first, last = images.shape[1] in _CHANNELS, images.shape[3] in _CHANNELS
    if first == last:
        doubt = "both may be the channels" if first else "neither has 1 or 3 channels"
        _refuse(
            path, f"images of shape {images.shape}, of which {doubt}", "1 or 3 channels, first or last",
            "save them as (n, h, w, c) with more than 3 pixels on each side",
        )  # fmt: skip
    return images.transpose(0, 2, 3, 1) if first else images


def _checked_labels(path: Path, labels: NDArray[Any]) -> NDArray[np.int64]:
    import numpy as np

    if labels.ndim == 2 and labels.shape[1] > 1:
        _refuse(path, f"labels of shape {labels.shape}", "one number for each image", "save labels.argmax(1)")
    if labels.ndim not in (1, 2) or labels.dtype.kind not in "ui":
        _refuse(
            path, f"labels of shape {labels.shape} and type {labels.dtype}", "whole numbers of shape (n,)",
            "save labels.astype(numpy.int64)",
        )  # fmt: skip
    if int(labels.min()) < 0 or int(labels.max()) >= 2**31:
        _refuse(path, f"labels from {labels.min()} to {labels.max()}", "labels from 0", "number the classes from 0 on")
    return labels.reshape(-1).astype(np.int64)


def _refuse(path: Path, found: str, expected: str, remedy: str) -> NoReturn:
    raise InvalidData.because(str(path), found=found, expected=expected, remedy=remedy)
