"""The guide to the data sets names what there is: each data set with its sizes, address and terms, and each file."""

from __future__ import annotations

import re

import pytest

from benchmark.dataset_entry import DataSet
from benchmark.dataset_inventory import CLASSES
from benchmark.dataset_table import DATASETS
from benchmark.preprocessing import PREPROCESSINGS
from tests.house.layout import ROOT

GUIDE = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")


def row(entry: DataSet) -> str:
    """The line of the table that tells of a data set."""
    named = "test" in entry.splits
    splits = [f"{name} {points:,}" for name, points in entry.splits.items()]
    points = ", ".join(splits) if named else f"{len(splits)} times {next(iter(entry.splits.values())):,}"
    shape, classes = "×".join(map(str, entry.shape)), CLASSES[entry.name]
    return f"| `{entry.name}` | [{entry.title}]({entry.page}) | {shape} | {classes} | {points} | {entry.terms} |"


@pytest.mark.parametrize("entry", DATASETS.values(), ids=lambda entry: entry.name)
def test_the_table_tells_of_each_data_set_what_its_entry_says(entry: DataSet) -> None:
    assert row(entry) in GUIDE.splitlines()


def test_the_table_tells_of_no_other() -> None:
    section = GUIDE.partition("\n## What there is\n")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `([^`]+)` \|", section, flags=re.MULTILINE) == list(DATASETS)


@pytest.mark.parametrize("entry", DATASETS.values(), ids=lambda entry: entry.name)
def test_every_file_to_get_has_its_place_and_its_checksum(entry: DataSet) -> None:
    section = GUIDE.partition("\n## Where the files belong\n")[2].partition("\n## ")[0]
    for file in entry.downloads:
        place = f"{entry.name}/{file.name}"
        assert f"| `{place}` | {file.url} | `{(file.checksum or '').replace(':', ' ')}` |" in section.splitlines()
    for form in entry.forms:
        for folder in form.folders:
            assert folder == "." or f"`{folder}/" in section, folder


def test_every_preprocessing_is_told() -> None:
    section = GUIDE.partition("\n## Preprocessing\n")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE) == list(PREPROCESSINGS)
