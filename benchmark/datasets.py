"""The evaluation and training points, named and in a fixed order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from torch import Tensor

CLASSES: Mapping[str, int] = {"digits": 10}
"""Number of classes of each data set."""

SHAPES: Mapping[str, tuple[int, int, int]] = {"digits": (1, 8, 8)}
"""Channels, height and width of each data set's images."""

DIGITS_SEED = 0
"""Seed of the permutation that assigns the digits to their splits; changing it would change every published number."""

DIGITS_SPLITS: Mapping[str, slice] = {
    "train": slice(0, 1097),
    "test": slice(1097, 1597),
    "twin": slice(1597, 1797),
}
"""Where each split lies in the permuted digits. The twin set is held out even from the boards: a model that looked the
test points up is betrayed by doing worse on it."""


@dataclass(frozen=True)
class LabelledPoints:
    """Images with their labels and their places in the split.

    Args:
        x: images, (n, c, h, w), float32 in [0, 1].
        y: labels, (n,), int64.
        index: position of each point in its split.
    """

    x: Tensor
    y: Tensor
    index: tuple[int, ...]


def load(name: str, split: str = "test", n: int | None = None) -> LabelledPoints:
    """Return the points of a data set's split, in their fixed order.

    Args:
        name: data set, such as "digits".
        split: "train", "test" (which the boards rank on) or "twin" (held out from both).
        n: only the first n points; all of them by default.
    Returns:
        Tensors of the caller's own, free to be changed.
    Raises:
        NotFound: no such data set or split.
        InvalidInput: n is not a number of points that the split has.
    """
    if name not in _READERS:
        raise NotFound.because(
            "dataset",
            found=name,
            expected=f"one of {', '.join(_READERS)}",
            remedy="choose a data set that is built in, or pass points of your own to evaluate()",
        )
    splits = _READERS[name]()
    if split not in splits:
        raise NotFound.because(
            "split", found=split, expected=f"one of {', '.join(splits)}", remedy='use "test" for an evaluation'
        )
    points = splits[split]
    size = len(points.index)
    if n is not None and not 0 < n <= size:
        raise InvalidInput.because(
            "n", found=n, expected=f"1 to {size}", remedy="ask for no more points than the split has, or leave n out"
        )
    return LabelledPoints(points.x[:n].clone(), points.y[:n].clone(), points.index[:n])


def twin_of(name: str | None) -> LabelledPoints | None:
    """Return the points of a data set that are held out from training and boards alike; None where there are none."""
    twin = _READERS[name]().get("twin") if name is not None and name in _READERS else None
    return None if twin is None else LabelledPoints(twin.x.clone(), twin.y.clone(), twin.index)


def _digits_file() -> Path:
    """Return where scikit-learn keeps the digits; importing it, as every evaluation would, takes as long as torch."""
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise NotFound.because(
            "dataset", found="no scikit-learn", expected="the package that brings the digits along",
            remedy="install scikit-learn",
        )  # fmt: skip
    return Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"


@cache
def _digits() -> dict[str, LabelledPoints]:
    """Read the 1,797 handwritten digits that scikit-learn brings along, 8×8 pixels in 17 grey levels.

    Source:
        Alpaydin & Kaynak 1998, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository.
    """
    import numpy as np
    import torch

    rows = np.loadtxt(_digits_file(), delimiter=",")
    order = np.random.Generator(np.random.PCG64(DIGITS_SEED)).permutation(len(rows))
    x = torch.from_numpy((rows[order, :-1] / 16).astype(np.float32)).reshape(-1, *SHAPES["digits"])
    y = torch.from_numpy(rows[order, -1].astype(np.int64))
    return {
        split: LabelledPoints(x[place], y[place], tuple(range(place.stop - place.start)))
        for split, place in DIGITS_SPLITS.items()
    }


_READERS: Mapping[str, Callable[[], dict[str, LabelledPoints]]] = {"digits": _digits}
