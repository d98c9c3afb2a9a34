"""Files of data sets: fetched once, checked, and never taken for what they are not."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmark.dataset_files import DataFile, DataSet, Form
from benchmark.dataset_table import DATASETS
from benchmark.errors import InvalidData, NotFound
from model_zoo.downloads.datasets import fetch_dataset
from model_zoo.downloads.transfer import DownloadFailed, Patience
from tests.model_zoo.hosts import Host, content, host, status

QUICK = Patience(attempts=2, pause_s=0.01, silence_s=1.0)
IMAGES, LABELS = b"images" * 1000, b"labels" * 10


@pytest.fixture
def server() -> Iterator[Host]:
    with host() as served:
        served.serve("/images", content(IMAGES))
        served.serve("/labels", content(LABELS))
        yield served


def dataset(server: Host, **changes: object) -> DataSet:
    files = tuple(
        DataFile(name, f"md5:{hashlib.md5(data, usedforsecurity=False).hexdigest()}", len(data), f"{server.url}/{name}")
        for name, data in (("images", IMAGES), ("labels", LABELS))
    )
    form = Form(("toy",), {"test": files}, lambda *_: pytest.fail("nobody reads it here"))
    fields: dict[str, object] = {"forms": (form,), "downloads": files} | changes
    return DataSet("toy", "Toy", "digits", (1, 8, 8), {"test": 1}, "https://example.org", "free", **fields)  # type: ignore[arg-type]


def fetched(entry: DataSet, root: Path, *, offline: bool = False) -> list[Path]:
    return list(fetch_dataset(entry, root, offline=offline, patience=QUICK, progress=lambda *_: None))


def test_files_are_fetched_once_to_where_the_loader_looks(server: Host, tmp_path: Path) -> None:
    entry = dataset(server)
    paths = fetched(entry, tmp_path)
    assert paths == [tmp_path / "toy" / "images", tmp_path / "toy" / "labels"]
    assert [path.read_bytes() for path in paths] == [IMAGES, LABELS]
    assert fetched(entry, tmp_path, offline=True) == paths
    assert server.asked.total() == 2


def test_another_file_is_told_and_put_aside(server: Host, tmp_path: Path) -> None:
    server.serve("/labels", content(b"LABELS" * 10))
    with pytest.raises(InvalidData, match="md5"):
        fetched(dataset(server), tmp_path)
    assert sorted(path.name for path in (tmp_path / "toy").glob("labels*")) == ["labels.wrong"]
    server.serve("/labels", content(LABELS))
    assert len(fetched(dataset(server), tmp_path)) == 2


def test_what_is_gone_or_may_not_be_fetched_is_told(server: Host, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="GAUNTLET_OFFLINE"):
        fetched(dataset(server), tmp_path, offline=True)
    server.serve("/images", status(404))
    with pytest.raises(DownloadFailed, match="404"):
        fetched(dataset(server), tmp_path)


@pytest.mark.parametrize("name", ["digits", "imagenet"])
def test_what_is_got_in_another_way_says_how(name: str, tmp_path: Path) -> None:
    """ImageNet is never fetched by a program: its terms want every user's agreement."""
    with pytest.raises(NotFound) as failed:
        fetched(DATASETS[name], tmp_path)
    assert failed.value.detail is not None
    assert failed.value.detail.remedy
    assert list(tmp_path.iterdir()) == []
