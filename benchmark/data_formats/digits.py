"""The handwritten digits that scikit-learn brings along, 8×8 pixels in 17 grey levels.

Source:
    Alpaydin & Kaynak 1998, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from benchmark.data_formats.rows import Rows, rows_of_arrays
from benchmark.errors import NotFound

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SEED = 0
"""Seed of the permutation that assigns the digits to their splits; changing it would change every published number."""

SPLITS: Mapping[str, slice] = MappingProxyType(
    {"train": slice(0, 1097), "test": slice(1097, 1597), "twin": slice(1597, 1797)}
)
"""Where each split lies in the permuted digits. The twin set is held out even from the boards: a model that looked the
test points up is betrayed by doing worse on it."""
_LEVELS = 16
_SIDE = 8


def read_digits(_folder: Path, split: str) -> Rows:
    """Return the rows of a split; they come with a package, not in a folder."""
    images, labels = _digits()
    return rows_of_arrays(_file(), images[SPLITS[split]], labels[SPLITS[split]])


def _file() -> Path:
    """Return where scikit-learn keeps the digits; importing it, as every evaluation would, takes as long as torch."""
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise NotFound.because(
            "dataset", found="no scikit-learn", expected="the package that brings the digits along",
            remedy="install scikit-learn",
        )  # fmt: skip
    return Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"


@cache
def _digits() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    import numpy as np

    rows = np.loadtxt(_file(), delimiter=",")
    order = np.random.Generator(np.random.PCG64(SEED)).permutation(len(rows))
    images = (rows[order, :-1] / _LEVELS).astype(np.float32).reshape(-1, _SIDE, _SIDE, 1)
    return images, rows[order, -1].astype(np.int64)
