"""What is missing, what is another file, and what is hashed how often."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmark import dataset_files
from benchmark.dataset_inventory import available, check, paths, require_all
from benchmark.dataset_table import DATASETS
from benchmark.datasets import load
from benchmark.errors import InvalidData, NotFound
from tests.benchmark.data_files import (
    as_written,
    cifar_records,
    drawn,
    labels_of,
    of_form,
    publish,
    write_mnist,
    write_tar,
)

N = 20


@pytest.mark.parametrize("name", [name for name, entry in DATASETS.items() if not entry.comes_along])
def test_what_is_missing_is_named_with_its_address_and_its_path(tmp_path: Path, name: str) -> None:
    entry = DATASETS[name]
    for split in {"test", *entry.splits} & set(entry.splits):
        with pytest.raises(NotFound) as error:
            load(name, split, data_dir=tmp_path)
        assert error.value.detail is not None
        expected, remedy = error.value.detail.expected, error.value.detail.remedy
        assert str(tmp_path / name) in expected
        assert "GAUNTLET_DATA_DIR" in remedy
        addresses = [file.url for file in entry.downloads if file.url] or ["https://"]
        assert any(address in remedy for address in addresses)
        known = [file.checksum.partition(":")[2] for file in entry.downloads if file.checksum]
        assert not known or any(checksum in expected + remedy for checksum in known)
    assert name not in available(tmp_path)


def test_a_file_that_is_missing_beside_another_is_named(tmp_path: Path) -> None:
    write_mnist(tmp_path / "mnist", *of_form("mnist", N))
    (tmp_path / "mnist/t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(NotFound, match=r"mnist without t10k-labels-idx1-ubyte\.gz"):
        load("mnist", data_dir=tmp_path)


def test_the_published_checksum_is_held_against_the_file(tmp_path: Path) -> None:
    """No entry of a test's own: other images of the right form are not MNIST."""
    write_mnist(tmp_path / "mnist", *of_form("mnist", N))
    with pytest.raises(InvalidData, match=r"expected 1,648,877 bytes") as error:
        load("mnist", data_dir=tmp_path)
    assert error.value.detail is not None
    assert "https://" in error.value.detail.remedy
    path = tmp_path / "mnist/t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes().ljust(1_648_877, b"\0"))
    with pytest.raises(InvalidData, match="md5 9fb629c4189551a2d022fa330f9573f3"):
        load("mnist", data_dir=tmp_path)


def test_a_file_is_hashed_once_until_it_changes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    images, labels = of_form("mnist", N)
    write_mnist(tmp_path / "mnist", images, labels)
    publish(monkeypatch, "mnist", tmp_path, {"test": N})
    hashed: list[str] = []
    original = dataset_files._hashed

    def counted(path: Path, algorithm: str) -> str:
        hashed.append(path.name)
        return original(path, algorithm)

    monkeypatch.setattr(dataset_files, "_hashed", counted)
    load("mnist", data_dir=tmp_path)
    assert sorted(hashed) == ["t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"]
    dataset_files._VERIFIED.clear()  # as in another process
    load("mnist", data_dir=tmp_path)
    assert len(hashed) == 2
    list(check("mnist", tmp_path))
    assert len(hashed) == 4, "a check hashes again"
    labels_file = tmp_path / "mnist/t10k-labels-idx1-ubyte.gz"
    content = bytearray(labels_file.read_bytes())
    content[-9] ^= 1
    labels_file.write_bytes(content)
    with pytest.raises(InvalidData, match=r"t10k-labels-idx1-ubyte\.gz: found md5"):
        load("mnist", data_dir=tmp_path)


def test_a_check_finds_what_has_changed_behind_its_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_mnist(tmp_path / "mnist", *of_form("mnist", N))
    publish(monkeypatch, "mnist", tmp_path, {"test": N})
    load("mnist", data_dir=tmp_path)
    path = tmp_path / "mnist/t10k-labels-idx1-ubyte.gz"
    status = path.stat()
    path.write_bytes(bytes(status.st_size))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(InvalidData, match="md5"):
        list(check("mnist", tmp_path))
    with pytest.raises(InvalidData, match="IDX"):
        load("mnist", data_dir=tmp_path)


def test_a_folder_that_cannot_be_written_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_mnist(tmp_path / "mnist", *of_form("mnist", N))
    publish(monkeypatch, "mnist", tmp_path, {"test": N})

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(Path, "write_text", refuse)
    assert len(load("mnist", data_dir=tmp_path).y) == N
    assert not list((tmp_path / "mnist").glob(".*"))


def test_another_number_of_points_is_no_such_data_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_mnist(tmp_path / "mnist", *of_form("mnist", N))
    publish(monkeypatch, "mnist", tmp_path, {"test": N + 1})
    with pytest.raises(InvalidData, match=f"found {N} points"):
        load("mnist", data_dir=tmp_path)


def test_labels_beyond_the_classes_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    images, _ = of_form("cifar10", N)
    records = cifar_records(images, labels_of(N, 11))
    write_tar(tmp_path / "cifar10/cifar-10-binary.tar.gz", {"cifar-10-batches-bin/test_batch.bin": records}, "w:gz")
    publish(monkeypatch, "cifar10", tmp_path, {"test": N})
    with pytest.raises(InvalidData, match="labels from 0 to 10"):
        load("cifar10", data_dir=tmp_path)


def test_images_of_another_size_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_mnist(tmp_path / "mnist", drawn(N, 27, 1), labels_of(N))
    publish(monkeypatch, "mnist", tmp_path, {"test": N})
    with pytest.raises(InvalidData, match="images of 1×27×27"):
        load("mnist", data_dir=tmp_path)


def test_the_environment_names_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_mnist(tmp_path / "mnist", *of_form("mnist", N))
    publish(monkeypatch, "mnist", tmp_path, {"test": N})
    monkeypatch.setenv("GAUNTLET_DATA_DIR", str(tmp_path))
    assert len(load("mnist").y) == N
    assert "mnist" in available()
    with pytest.raises(NotFound, match="elsewhere"):
        load("mnist", data_dir=tmp_path / "elsewhere")


def test_a_data_set_is_required_whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_mnist(tmp_path / "mnist", *of_form("mnist", N))
    publish(monkeypatch, "mnist", tmp_path, {"test": N})
    require_all("mnist", tmp_path)
    require_all("digits", tmp_path)
    with pytest.raises(NotFound, match="cifar10"):
        require_all("cifar10", tmp_path)
    with pytest.raises(NotFound, match="one of digits"):
        require_all("cifar11", tmp_path)


def test_the_paths_are_those_that_are_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "mnist").symlink_to(tmp_path / "elsewhere")
    assert paths(tmp_path) == ()
    write_mnist(tmp_path / "elsewhere", *of_form("mnist", N))
    names = {"t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"}
    assert set(paths(tmp_path)) == {tmp_path / "mnist" / name for name in names}
    publish(monkeypatch, "mnist", tmp_path, {"test": N})
    load("mnist", data_dir=tmp_path)
    assert set(paths(tmp_path)) == {
        tmp_path / "mnist" / name for name in names | {f".{name}.verified" for name in names}
    }


def test_the_entry_of_a_test_differs_from_the_published_one_in_its_files_alone(tmp_path: Path) -> None:
    entry = as_written(DATASETS["mnist"], tmp_path, {})
    assert entry == DATASETS["mnist"]
