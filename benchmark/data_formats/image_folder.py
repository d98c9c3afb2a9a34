"""Folders of images: one folder for each class, or a list that says which image is of which class."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from benchmark.data_formats.classes import class_names, listed_images
from benchmark.data_formats.images import SUFFIXES, rows_of_files
from benchmark.data_formats.rows import Rows
from benchmark.errors import InvalidData

_SPLITS = frozenset({"test", "train", "training", "val", "valid", "validation"})
_NOT_CLASSES = frozenset({"__MACOSX"})
_LAYOUT = "put the images of each class into a folder of its name: FOLDER/CLASS/IMAGE"
_LISTED = re.compile(r"(?P<class>[\w-]+)/[\w-]+\.jpg")


@dataclass(frozen=True)
class ImageFolderReader:
    """Reads images that lie in a folder for each class, within one for each split.

    Args:
        classes: whose names the folders have, in the order of the labels.
    """

    classes: str

    def __call__(self, folder: Path, split: str) -> Rows:
        """Return the rows of a split."""
        return open_image_folder(folder / split, class_names(self.classes))


@dataclass(frozen=True)
class ListedTexturesReader:
    """Reads the images of the Describable Textures that a list in the folder names.

    Args:
        lists: name of the list, by split.
    """

    lists: Mapping[str, str]

    def __call__(self, folder: Path, split: str) -> Rows:
        """Return the rows of a split."""
        path = folder / self.lists[split]
        names = path.read_text(encoding="utf-8", errors="replace").split()
        labels = {name: label for label, name in enumerate(class_names("dtd"))}
        pairs = []
        for name in names:
            match = _LISTED.fullmatch(name)
            if match is None or match["class"] not in labels:
                _refuse(path, repr(name[:80]), "lines such as banded/banded_0002.jpg", "unpack the archive again")
            pairs.append((name, labels[match["class"]]))
        return _mixed(folder / "images", pairs)


@dataclass(frozen=True)
class ListedImageNetReader:
    """Reads the images of ImageNet's validation set that the boards use, in the order of their list.

    Args:
        inside: the folder that holds them, below that of the data set, by split.
    """

    inside: Mapping[str, str]

    def __call__(self, folder: Path, split: str) -> Rows:
        """Return the rows: the images lie in folders by class, or all in one."""
        import numpy as np

        top = folder / self.inside[split]
        labels = {synset: label for label, synset in enumerate(class_names("imagenet"))}
        listed = listed_images()
        flat = not any((top / synset).is_dir() for synset in labels)
        paths = [top / (name.partition("/")[2] if flat else name) for name in listed]
        return rows_of_files(paths, np.array([labels[name.partition("/")[0]] for name in listed], dtype=np.int64))


def open_image_folder(folder: Path, classes: Sequence[str] | None = None) -> Rows:
    """Return the rows of a folder that holds one folder of images for each class.

    The points are ordered by a hash of class and file name, so that the first of them are of all classes, and keep
    their order when others are added.

    Args:
        folder: of all classes.
        classes: names of the classes in the order of their labels; those that are there, sorted, by default.
    Raises:
        InvalidData: it does not look like this, or a class has no images.
    """
    if not folder.is_dir():
        _refuse(folder, "no folder", "a folder of images", _LAYOUT)
    there = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and _is_class(entry.name))
    if not there:
        inside = sum(entry.suffix.lower() in SUFFIXES for entry in folder.iterdir())
        _refuse(folder, f"no folders, {inside} images" if inside else "no folders", "a folder for each class", _LAYOUT)
    if classes is None and set(there) <= _SPLITS:
        _refuse(
            folder, f"the folders {', '.join(there)}, which are names of splits", "a folder for each class",
            f"name one of them, such as {folder / there[0]}",
        )  # fmt: skip
    names = there if classes is None else list(classes)
    if set(names) != set(there):
        odd = min(set(names) ^ set(there))
        _refuse(
            folder, f"{'no' if odd in names else 'a'} folder {odd}", f"the {len(names)} folders of the classes",
            "unpack the archive again",
        )  # fmt: skip
    pairs = [(f"{name}/{file}", label) for label, name in enumerate(names) for file in _images_in(folder / name)]
    return _mixed(folder, pairs)


def _is_class(name: str) -> bool:
    return not name.startswith(".") and name not in _NOT_CLASSES


def _images_in(folder: Path) -> list[str]:
    entries = [entry for entry in os.scandir(folder) if not entry.name.startswith(".")]
    found = [entry.name for entry in entries if Path(entry.name).suffix.lower() in SUFFIXES]
    if not found:
        within = sorted(entry.name for entry in entries if entry.is_dir())
        there = f"no images, {len(entries)} other files" if entries else "nothing"
        remedy = "remove the folder, or put its images there"
        if within:
            there, remedy = f"no images, but the folder {within[0]}", f"if its folders are the classes, name {folder}"
        _refuse(folder, there, f"images ({', '.join(sorted(SUFFIXES))})", remedy)
    return found


def _mixed(folder: Path, pairs: Sequence[tuple[str, int]]) -> Rows:
    import numpy as np

    ordered = sorted(pairs, key=lambda pair: hashlib.sha256(pair[0].encode("utf-8", "surrogateescape")).digest())
    labels = np.array([label for _, label in ordered], dtype=np.int64)
    return rows_of_files([folder / name for name, _ in ordered], labels)


def _refuse(path: Path, found: str, expected: str, remedy: str) -> NoReturn:
    raise InvalidData.because(str(path), found=found, expected=expected, remedy=remedy)
