"""Which data sets are there, and whether they are whole. Nothing here needs torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from benchmark.corruptions.names import CORRUPTIONS
from benchmark.data_formats.classes import class_names
from benchmark.dataset_entry import DataSet
from benchmark.dataset_files import data_directory, find, has_all, paths_of, require
from benchmark.dataset_table import DATASETS
from benchmark.errors import InvalidData, NotFound

if TYPE_CHECKING:
    from benchmark.data_formats.rows import Rows

CLASSES: Mapping[str, int] = MappingProxyType(
    {name: len(class_names(entry.labels)) for name, entry in DATASETS.items()}
)
"""Number of classes of each data set."""

_CHUNK = 256
"""Images that are read at a time."""


@dataclass(frozen=True)
class CheckedSplit:
    """A split whose files are the right ones and whose images can all be read.

    Args:
        name: of the split.
        points: how many it has.
    """

    name: str
    points: int


def dataset_named(name: str) -> DataSet:
    """Return a data set by its name.

    Raises:
        NotFound: there is none of that name.
    """
    if name not in DATASETS:
        raise unknown_dataset(name)
    return DATASETS[name]


def available(data_dir: str | Path | None = None) -> tuple[str, ...]:
    """Return the data sets whose files are there, as far as their names tell. Loads neither torch nor numpy.

    Args:
        data_dir: as for `benchmark.datasets.load`.
    """
    root = data_directory(data_dir)
    return tuple(name for name, entry in DATASETS.items() if has_all(entry, root))


def paths(data_dir: str | Path | None = None) -> tuple[Path, ...]:
    """Return the absolute paths of all files and folders of data sets that are there.

    Args:
        data_dir: as for `benchmark.datasets.load`.
    """
    root = data_directory(data_dir).absolute()
    return tuple(path for entry in DATASETS.values() for path in paths_of(entry, root))


def require_all(name: str, data_dir: str | Path | None = None) -> None:
    """See that a data set is there, and that its files are the right ones. Loads neither torch nor numpy.

    Args:
        name: of the data set.
        data_dir: as for `benchmark.datasets.load`.
    Raises:
        NotFound: there is no such data set, or nothing of it is there.
        InvalidData: a file of it is another one.
    """
    entry = dataset_named(name)
    for split in entry.needed:
        require(entry, split, data_directory(data_dir))


def check(name: str, data_dir: str | Path | None = None) -> Iterator[CheckedSplit]:
    """Hash the files of a data set that are there, and read every image; split by split.

    Args:
        name: of the data set.
        data_dir: as for `benchmark.datasets.load`.
    Raises:
        NotFound: there is no such data set, or nothing of it is there.
        InvalidData: a file of it is another one, or damaged.
    """
    entry, root = dataset_named(name), data_directory(data_dir)
    there = [split for split in entry.splits if find(entry, split, root) is not None]
    hashed: set[Path] = set()
    for split in there or entry.needed[:1]:
        require(entry, split, root, hashed=hashed)
        rows = open_split(name, split, root)
        for begin in range(0, len(rows.labels), _CHUNK):
            rows.images(range(begin, min(begin + _CHUNK, len(rows.labels))), None)
        yield CheckedSplit(split, len(rows.labels))


def open_split(name: str, split: str, data_dir: str | Path | None = None) -> Rows:
    """Return the rows of a split, held against what is known of the data set.

    Args:
        name: of the data set.
        split: one of its splits.
        data_dir: as for `benchmark.datasets.load`.
    Raises:
        NotFound: there is no such data set or split, or its files are not there.
        InvalidData: a file of it is another one, damaged, or not what it should be.
    """
    entry, root = dataset_named(name), data_directory(data_dir)
    if split not in entry.splits:
        raise NotFound.because(
            "split", found=split,
            expected=f"one of {', '.join(entry.splits)}" if "test" in entry.splits else "TYPE/SEVERITY, such as fog/3",
            remedy='use "test" for an evaluation' if "test" in entry.splits else f"one of {', '.join(CORRUPTIONS)}",
        )  # fmt: skip
    place = require(entry, split, root)
    rows = place.form.reader(place.folder, split)
    size, classes = entry.splits[split], CLASSES[name]
    if len(rows.labels) != size:
        raise InvalidData.because(
            f"dataset {name}, split {split}", found=f"{len(rows.labels):,} points in {place.folder}",
            expected=f"{size:,}", remedy=entry.instructions(root, split),
        )  # fmt: skip
    if not 0 <= rows.labels.min() <= rows.labels.max() < classes:
        raise InvalidData.because(
            f"dataset {name}, split {split}", found=f"labels from {rows.labels.min()} to {rows.labels.max()}",
            expected=f"0 to {classes - 1}", remedy=entry.instructions(root, split),
        )  # fmt: skip
    return rows


def unknown_dataset(name: str) -> NotFound:
    """Return the error about a name that no data set has."""
    similar = get_close_matches(name.casefold(), DATASETS, n=1)
    own = f'"./{name}"' if Path(name).is_dir() else '"folder:PATH" or "PATH/FILE.npz"'
    return NotFound.because(
        "dataset",
        found=name,
        expected=f"one of {', '.join(DATASETS)}",
        remedy=f"{f'did you mean {similar[0]}? ' if similar else ''}For points of your own write {own}",
    )
