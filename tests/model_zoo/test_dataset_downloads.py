"""Data sets fetched from a real server: into their places, once, and only if they are the files that were published."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark import dataset_inventory, datasets
from benchmark.dataset_entry import DataSet
from benchmark.dataset_table import DATASETS
from benchmark.datasets import load
from benchmark.errors import InvalidData, NotFound
from model_zoo.downloads.datasets import FetchedFile, fetch_dataset
from model_zoo.downloads.transfer import DownloadFailed, Patience
from tests.benchmark.data_files import as_written, of_form, write_mnist
from tests.model_zoo.hosts import Host, content, cut, host, page, status

N = 20
QUICK = Patience(attempts=3, pause_s=0.01, silence_s=0.5)
IMAGES, LABELS = "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"


@pytest.fixture
def server() -> Iterator[Host]:
    with host() as served:
        yield served


@pytest.fixture
def published(server: Host, tmp_path: Path) -> DataSet:
    """MNIST as a publisher of this machine has it, with a few points."""
    source = tmp_path / "publisher"
    for prefix in ("train", "t10k"):
        write_mnist(source / "mnist", *of_form("mnist", N), prefix=prefix)
    entry = as_written(DATASETS["mnist"], source, {"train": N, "test": N})
    urls = {
        path.name: server.serve(f"/{path.name}", content(path.read_bytes())) for path in (source / "mnist").iterdir()
    }
    forms = tuple(
        replace(
            form,
            files={
                split: tuple(replace(file, url=urls.get(file.name)) for file in files)
                for split, files in form.files.items()
            },
        )
        for form in entry.forms
    )
    return replace(entry, forms=forms, downloads=tuple(file for files in forms[0].files.values() for file in files))


def fetched(entry: DataSet, root: Path, *splits: str, offline: bool = False) -> list[FetchedFile]:
    return list(fetch_dataset(entry, root, splits, offline=offline, patience=QUICK))


def test_what_is_fetched_is_in_its_place_and_loads(
    monkeypatch: pytest.MonkeyPatch, server: Host, published: DataSet, tmp_path: Path
) -> None:
    root = tmp_path / "data"
    files = fetched(published, root, "test")
    assert [(file.path, file.was_here) for file in files] == [
        (root / "mnist" / IMAGES, False),
        (root / "mnist" / LABELS, False),
    ]
    for module in (datasets, dataset_inventory):
        monkeypatch.setattr(module, "DATASETS", {**DATASETS, "mnist": published})
    assert len(load("mnist", data_dir=root).y) == N
    left = {path.name for path in (root / "mnist").iterdir()}
    assert left == {IMAGES, LABELS, f".{IMAGES}.verified", f".{LABELS}.verified", ".lock"}
    assert fetched(published, root, "test") == []
    rest = fetched(published, root)
    assert [file.was_here for file in rest] == [False, False, True, True]
    assert max(server.asked.values()) == 1
    assert fetched(published, root, offline=True) == []


def test_another_file_than_was_published_is_not_taken(server: Host, published: DataSet, tmp_path: Path) -> None:
    root = tmp_path / "data"
    right = (tmp_path / "publisher/mnist" / IMAGES).read_bytes()
    server.serve(f"/{IMAGES}", content(right[:-1] + b"?"))
    with pytest.raises(InvalidData, match="found md5"):
        fetched(published, root, "test")
    assert {path.name for path in (root / "mnist").iterdir()} == {".lock"}
    server.serve(f"/{IMAGES}", content(right + b"?"))
    with pytest.raises(DownloadFailed, match="bytes"):
        fetched(published, root, "test")
    server.serve(f"/{IMAGES}", page())
    with pytest.raises(DownloadFailed, match="HTML page"):
        fetched(published, root, "test")
    server.serve(f"/{IMAGES}", status(404))
    with pytest.raises(DownloadFailed, match="404"):
        fetched(published, root, "test")
    server.serve(f"/{IMAGES}", content(right))
    assert len(fetched(published, root, "test")) == 2


def test_what_broke_off_is_gone_on_from(server: Host, published: DataSet, tmp_path: Path) -> None:
    right = (tmp_path / "publisher/mnist" / IMAGES).read_bytes()
    server.serve(f"/{IMAGES}", cut(right, len(right) // 3, content(right), times=2))
    assert len(fetched(published, tmp_path / "data", "test")) == 2
    assert server.asked[f"/{IMAGES}"] == 3


def test_a_damaged_file_in_its_place_is_named_and_left_to_its_owner(published: DataSet, tmp_path: Path) -> None:
    root = tmp_path / "data"
    fetched(published, root, "test")
    (root / "mnist" / LABELS).write_bytes(b"?")
    with pytest.raises(InvalidData, match=LABELS.replace(".", r"\.")):
        fetched(published, root)
    assert (root / "mnist" / LABELS).read_bytes() == b"?"


def test_what_is_there_in_another_form_is_not_fetched(server: Host, published: DataSet, tmp_path: Path) -> None:
    root = tmp_path / "data"
    shutil.copytree(tmp_path / "publisher/mnist", root / "MNIST/raw")
    assert fetched(published, root) == []
    assert not server.asked


def test_offline_nothing_is_asked_for(server: Host, published: DataSet, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="GAUNTLET_OFFLINE"):
        fetched(published, tmp_path / "data", offline=True)
    assert not server.asked


@pytest.mark.parametrize(
    ("name", "told"), [("imagenet", "image-net.org"), ("imagenet-c", "2235448"), ("svhn", "ufldl")]
)
def test_what_is_not_to_be_fetched_says_how_to_get_it(tmp_path: Path, name: str, told: str) -> None:
    with pytest.raises(NotFound, match="no address that it may be fetched from") as error:
        fetched(DATASETS[name], tmp_path)
    assert error.value.detail is not None
    assert told in error.value.detail.remedy
    assert list(tmp_path.iterdir()) == []


def test_the_rest_has_addresses_that_programs_may_use() -> None:
    by_hand = {
        name for name, entry in DATASETS.items() if any(not str(f.url).startswith("https://") for f in entry.downloads)
    }
    assert by_hand == {"svhn"}
    assert {name for name, entry in DATASETS.items() if not entry.downloads} == {"digits", "imagenet", "imagenet-c"}


def test_an_unknown_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="split: found val"):
        fetched(DATASETS["mnist"], tmp_path, "val")
