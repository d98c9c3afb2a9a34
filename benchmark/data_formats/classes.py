"""Names of classes in the order of their labels, and the list of ImageNet's images, which come with the program."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

_DATA = Path(__file__).resolve().parents[1] / "data"


def class_names(dataset: str) -> tuple[str, ...]:
    """Return the names of a data set's classes, in the order of their labels; ImageNet's are the ids of synsets."""
    if dataset == "imagenet":
        return tuple((_DATA / "imagenet_synsets.txt").read_text(encoding="ascii").split())
    return _named()[dataset]


@cache
def listed_images() -> tuple[str, ...]:
    """Return the 5,000 images of ImageNet's validation set that the boards use, as ``synset/file``."""
    names = (_DATA / "imagenet_subset_5000.txt").read_text(encoding="ascii").split()
    return tuple(f"{name}.JPEG" for name in names)


@cache
def _named() -> dict[str, tuple[str, ...]]:
    content = json.loads((_DATA / "classes.json").read_text(encoding="utf-8"))
    return {dataset: tuple(names) for dataset, names in content.items()}
