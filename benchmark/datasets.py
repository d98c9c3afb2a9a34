"""The evaluation and training points, named and in a fixed order."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from benchmark.corruption_table import corrupted_name
from benchmark.data_formats.image_folder import open_image_folder
from benchmark.data_formats.npz import open_npz
from benchmark.dataset_inventory import CLASSES, available, open_split, unknown_dataset
from benchmark.dataset_table import DATASETS
from benchmark.errors import InvalidData, InvalidInput, NotFound
from benchmark.preprocessing import Preprocessing, fitting, preprocessing_named

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from benchmark.data_formats.rows import Images, Rows

__all__ = ["CLASSES", "SHAPES", "LabelledPoints", "available", "load", "load_corrupted", "twin_of"]

SHAPES: Mapping[str, tuple[int, int, int]] = MappingProxyType({name: entry.shape for name, entry in DATASETS.items()})
"""Channels, height and width of each data set's images, as they are loaded by default."""

_FOLDER = "folder:"
_CHUNK = 256
"""Images that are read before they become numbers of a tensor: so the bytes never lie beside all of the tensor."""


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


def load(
    name: str | Path,
    split: str = "test",
    n: int | None = None,
    *,
    index: Sequence[int] | None = None,
    data_dir: str | Path | None = None,
    preprocessing: str | None = None,
    shape: tuple[int, int, int] | None = None,
) -> LabelledPoints:
    """Return the points of a data set's split, in their fixed order.

    A tensor takes 4 bytes a value: all of CIFAR-10's test images 123 MB, ImageNet's 5,000 images of 224² pixels 3 GB.
    With ``index`` only those are read.

    Args:
        name: a data set, such as "cifar10"; or a path of one's own: a .npz file (see `benchmark.data_formats.npz`) or
            a folder with a folder of images for each class (see `benchmark.data_formats.image_folder`), written as
            "folder:PATH", as a text with a slash, or as a Path.
        split: "test", which the boards rank on, "train", or another of the data set's; "twin" is held out from both.
        n: only the first n points; all of them by default.
        index: only the points at these positions, in this order.
        data_dir: folder of the data sets; by default what GAUNTLET_DATA_DIR names, or ~/.cache/gauntlet/data.
        preprocessing: what is done to each image, by a name of `benchmark.preprocessing`; by default what the data set
            needs, which is nothing where all images have one size.
        shape: channels, height and width that each image is brought to instead, resized bilinearly and cropped, as for
            a model that was made for another data set.
    Returns:
        Tensors of the caller's own, free to be changed.
    Raises:
        NotFound: no such data set, split or preprocessing; or its files are missing, and the error says which to get,
            where, and where they belong.
        InvalidData: a file is damaged, or not what it should be.
        InvalidInput: n or index are not points that the split has, or arguments contradict each other.
    """
    if preprocessing is not None and shape is not None:
        raise InvalidInput.because(
            "shape",
            found=f"it and preprocessing={preprocessing!r}",
            expected="one of them",
            remedy="leave one of them out",
        )
    known = isinstance(name, str) and name in DATASETS
    chosen = preprocessing or (DATASETS[str(name)].preprocessing if known else None)
    prepare = fitting(shape) if shape is not None else preprocessing_named(chosen) if chosen else None
    rows = open_split(str(name), split, data_dir) if known else _rows_of_path(name, split)
    points = _points(str(name), rows, _places(len(rows.labels), n, index), prepare)
    found = tuple(points.x.shape[1:])
    if known and preprocessing is None and shape is None and found != SHAPES[str(name)]:
        raise InvalidData.because(
            f"dataset {name}, split {split}", found=f"images of {'×'.join(map(str, found))}",
            expected="×".join(map(str, SHAPES[str(name)])), remedy="look at its files with `gauntlet data check`",
        )  # fmt: skip
    return points


def load_corrupted(
    dataset: str,
    corruption: str,
    severity: int,
    n: int | None = None,
    *,
    index: Sequence[int] | None = None,
    data_dir: str | Path | None = None,
    preprocessing: str | None = None,
) -> LabelledPoints:
    """Return the published corrupted images of a data set, in the order of its test split.

    Only the images that are asked for are read from the disk.

    Args:
        dataset: "cifar10", "cifar100" or "imagenet".
        corruption: one of the 15 types, such as "fog".
        severity: 1 to 5.
        n: as for `load`.
        index: likewise.
        data_dir: likewise.
        preprocessing: likewise.
    """
    name = corrupted_name(dataset)
    if name not in DATASETS:
        raise NotFound.because(
            "dataset", found=f"no corrupted images of {dataset}",
            expected=f"one of {', '.join(other.removesuffix('-c') for other in DATASETS if other.endswith('-c'))}",
            remedy="corrupt its images with benchmark.corruptions.corrupt",
        )  # fmt: skip
    split = f"{corruption}/{severity}"
    return load(name, split, n, index=index, data_dir=data_dir, preprocessing=preprocessing)


def twin_of(name: str | None) -> LabelledPoints | None:
    """Return the points of a data set that are held out from training and boards alike; None where there are none."""
    return load(name, "twin") if name is not None and name in DATASETS and "twin" in DATASETS[name].splits else None


def _rows_of_path(name: str | Path, split: str) -> Rows:
    """Return the rows of a file or folder of somebody's own."""
    text = str(name)
    prefixed = text.startswith(_FOLDER)
    if not (prefixed or isinstance(name, Path) or "/" in text or text.endswith(".npz")):
        raise unknown_dataset(text)
    path = Path(text.removeprefix(_FOLDER)).expanduser()
    if path.is_file() and not prefixed:
        if path.suffix != ".npz":
            raise InvalidInput.because(
                str(path), found=f"a file of kind {path.suffix or 'unknown'}", expected="a folder, or a .npz file",
                remedy="save the points with numpy.savez(file, x=images, y=labels)",
            )  # fmt: skip
        return open_npz(path, split)
    if (path / split).is_dir() and any(child.is_dir() for child in (path / split).iterdir()):
        return open_image_folder(path / split)
    if not path.is_dir() or split != "test":
        raise NotFound.because(
            "dataset", found=f"no {path}" if not path.is_dir() else f"no folder {split} of classes in {path}",
            expected="a folder of images, or a .npz file", remedy="check the path",
        )  # fmt: skip
    return open_image_folder(path)


def _places(size: int, n: int | None, index: Sequence[int] | None) -> tuple[int, ...]:
    """Return the positions that are asked for."""
    if index is None:
        if n is not None and not _is_count(n, size):
            raise InvalidInput.because(
                "n",
                found=n,
                expected=f"1 to {size}",
                remedy="ask for no more points than the split has, or leave n out",
            )
        return tuple(range(size if n is None else n))
    places = _as_positions(index, size)
    if n is not None or not places or not 0 <= min(places) <= max(places) < size:
        raise InvalidInput.because(
            "index", found="n as well" if n is not None else f"{min(places)} to {max(places)}" if places else "nothing",
            expected=f"positions from 0 to {size - 1}", remedy="ask for points that the split has",
        )  # fmt: skip
    return places


def _is_count(n: object, size: int) -> bool:
    return isinstance(n, Integral) and 0 < int(n) <= size


def _as_positions(index: Sequence[int], size: int) -> tuple[int, ...]:
    """Return positions as plain numbers; what is true or false of each point, or has a fraction, is none."""
    values = list(index)
    try:
        if any(isinstance(value, bool) or "bool" in str(getattr(value, "dtype", "")) for value in values):
            raise TypeError
        return tuple(map(operator.index, values))
    except TypeError:
        raise InvalidInput.because(
            "index", found=f"{len(values)} values of type {type(values[0]).__name__}, which are no positions",
            expected=f"whole numbers from 0 to {size - 1}", remedy="take those where a mask is true: mask.nonzero()",
        ) from None  # fmt: skip


def _points(name: str, rows: Rows, places: tuple[int, ...], prepare: Preprocessing | None) -> LabelledPoints:
    """Read the images, a chunk after the other, into one tensor."""
    import torch

    x: Tensor | None = None
    for begin in range(0, len(places), _CHUNK):
        images = rows.images(places[begin : begin + _CHUNK], prepare)
        values = torch.from_numpy(_channels_first(name, images))
        if x is None:
            x = torch.empty(len(places), *values.shape[1:])
        elif values.shape[1:] != x.shape[1:]:
            raise _of_several_sizes(name, x.shape[1:], values.shape[1:])
        part = x[begin : begin + len(values)].copy_(values)
        if values.dtype == torch.uint8:
            part.div_(255)
    if x is None:
        raise InvalidData.because(name, found="no points", expected="one or more", remedy="look at its files")
    return LabelledPoints(x, torch.from_numpy(rows.labels[list(places)]), places)


def _channels_first(name: str, images: Images) -> NDArray[Any]:
    """Return images of one size, each (h, w, c), as one array, (n, c, h, w)."""
    import numpy as np

    if isinstance(images, list):
        odd = next((image for image in images if image.shape != images[0].shape), None)
        if odd is not None:
            raise _of_several_sizes(name, *(array.transpose(2, 0, 1).shape for array in (images[0], odd)))
        images = np.stack(images)
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def _of_several_sizes(name: str, one: Sequence[int], other: Sequence[int]) -> InvalidInput:
    return InvalidInput.because(
        "preprocessing",
        found=f"images of {name} of {'×'.join(map(str, one))} and of {'×'.join(map(str, other))}",
        expected="one size",
        remedy='name a preprocessing, such as "Res256Crop224", or a shape',
    )
