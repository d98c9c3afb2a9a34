"""Matlab files, the format of SVHN: images in X as (h, w, c, n), labels in y, in which 10 stands for the digit 0."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from benchmark.data_formats.rows import DOWNLOAD_AGAIN, Rows, rows_of_arrays
from benchmark.errors import InvalidData

_TEN = 10


@dataclass(frozen=True)
class MatReader:
    """Reads one file.

    Args:
        files: its name, by split.
    """

    files: Mapping[str, str]

    def __call__(self, folder: Path, split: str) -> Rows:
        """Return the rows of a split."""
        import numpy as np
        from scipy.io import loadmat
        from scipy.io.matlab import MatReadError

        path = folder / self.files[split]
        try:
            found = loadmat(path, variable_names=("X", "y"))
        except (MatReadError, ValueError, TypeError, OverflowError, NotImplementedError, OSError, zlib.error) as error:
            _refuse(path, str(error))
        images, labels = found.get("X"), found.get("y")
        if not isinstance(images, np.ndarray) or images.ndim != 4 or images.dtype != np.uint8:
            _refuse(path, f"X of {_form(images)}")
        if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "ui" or labels.size != max(labels.shape):
            _refuse(path, f"y of {_form(labels)}")
        digits = labels.ravel().astype(np.int64)
        return rows_of_arrays(path, images.transpose(3, 0, 1, 2), np.where(digits == _TEN, 0, digits))


def _form(value: object) -> str:
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    return "nothing" if shape is None else f"shape {shape} and type {dtype}"


def _refuse(path: Path, found: str) -> NoReturn:
    raise InvalidData.because(
        str(path), found=found, expected="a Matlab file with X, (h, w, c, n) of bytes, and y, n whole numbers",
        remedy=DOWNLOAD_AGAIN,
    )  # fmt: skip
