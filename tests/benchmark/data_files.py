"""Small files of the formats in which data sets come, written byte for byte as the published ones are."""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import tarfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.io import savemat

from benchmark import dataset_inventory, datasets
from benchmark.analysis import material
from benchmark.dataset_entry import DataFile, DataSet
from benchmark.dataset_inventory import CLASSES
from benchmark.dataset_table import DATASETS

Bytes = NDArray[np.uint8]


def drawn(n: int, side: int = 32, channels: int = 3, seed: int = 0) -> Bytes:
    """Images, (n, h, w, c)."""
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, channels), dtype=np.uint8)


def labels_of(n: int, classes: int = 10) -> Bytes:
    return (np.arange(n) * 7 % classes).astype(np.uint8)


def of_form(name: str, n: int) -> tuple[Bytes, Bytes]:
    channels, side, _ = DATASETS[name].shape
    return drawn(n, side, channels), labels_of(n, CLASSES[name])


def write_idx(path: Path, values: Bytes) -> None:
    header = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
    content = header + values.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_mnist(folder: Path, images: Bytes, labels: Bytes, prefix: str = "t10k", suffix: str = ".gz") -> None:
    write_idx(folder / f"{prefix}-images-idx3-ubyte{suffix}", images[..., 0])
    write_idx(folder / f"{prefix}-labels-idx1-ubyte{suffix}", labels)


def cifar_records(images: Bytes, *labels: Bytes) -> bytes:
    planes = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    return np.concatenate([np.stack(labels, 1), planes], 1).tobytes()


def write_tar(path: Path, members: Mapping[str, bytes], mode: str = "w") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]  # the mode is one of several texts
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def python2_batch(images: Bytes, labels: Bytes, key: str = "labels") -> bytes:
    """A batch of CIFAR's python version, instruction by instruction as Python 2 wrote it."""

    def text(value: str) -> bytes:
        return b"U" + bytes([len(value)]) + value.encode()

    planes = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    rows, columns = (b"M" + struct.pack("<H", size) for size in planes.shape)
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\nq\x06cnumpy\nndarray\nq\x07K\x00\x85U\x01b\x87R(K\x01"
        + rows + columns + b"\x86cnumpy\ndtype\nq\x08U\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xff"
        + b"J\xff\xff\xff\xffK\x00tb\x89T" + struct.pack("<I", planes.size) + planes.tobytes() + b"tb"
    )  # fmt: skip
    numbers = b"".join(b"K" + bytes([label]) for label in labels)
    names = b"".join(text(f"image_s_{number:06d}.png") for number in range(len(labels)))
    return (
        b"\x80\x02}q\x01(" + text("batch_label") + text("testing batch 1 of 1")
        + text(key) + b"](" + numbers + b"e" + text("data") + array + text("filenames") + b"](" + names + b"eu."
    )  # fmt: skip


def npy(values: NDArray[np.generic]) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def write_npy(path: Path, values: NDArray[np.generic]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(npy(values))


def write_svhn(path: Path, images: Bytes, labels: Bytes) -> None:
    """As published: images last, and 10 for the digit 0."""
    path.parent.mkdir(parents=True, exist_ok=True)
    digits = np.where(labels == 0, 10, labels)[:, None]
    savemat(path, {"X": images.transpose(1, 2, 3, 0), "y": digits.astype(np.uint8)}, do_compression=True)


def write_image(path: Path, pixels: Bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(path, quality=95)


def as_written(entry: DataSet, root: Path, sizes: Mapping[str, int]) -> DataSet:
    """An entry with the numbers of points of a test, and the sizes and checksums of the files that it has written."""

    def measured(file: DataFile, folders: tuple[str, ...]) -> DataFile:
        paths = [root / folder / file.name for folder in folders]
        found = next((path for path in paths if path.is_file()), None)
        if found is None:
            return file
        algorithm = (file.checksum or "md5").partition(":")[0]
        digest = hashlib.new(algorithm, found.read_bytes()).hexdigest()
        checksum = f"{algorithm}:{digest}" if file.checksum else None
        return replace(file, checksum=checksum, size=found.stat().st_size if file.size else None)

    forms = tuple(
        replace(
            form,
            files={split: tuple(measured(file, form.folders) for file in files) for split, files in form.files.items()},
        )
        for form in entry.forms
    )
    folders = tuple(folder for form in entry.forms for folder in form.folders)
    downloads = tuple(measured(file, folders) for file in entry.downloads)
    return replace(entry, forms=forms, downloads=downloads, splits={**entry.splits, **sizes})


def publish(monkeypatch: pytest.MonkeyPatch, name: str, root: Path, sizes: Mapping[str, int], *others: DataSet) -> None:
    """Let what a test has written stand for the published files of a data set, and other entries for theirs."""
    written = (as_written(DATASETS[name], root, sizes), *others)
    entries = {**DATASETS, **{entry.name: entry for entry in written}}
    for module in (datasets, dataset_inventory, material):
        monkeypatch.setattr(module, "DATASETS", entries)
