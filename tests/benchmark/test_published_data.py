"""Every published format, from small files that are written as the published ones are, through the loader."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmark.corruptions.names import CORRUPTIONS
from benchmark.data_formats.classes import class_names, listed_images
from benchmark.dataset_inventory import available, check
from benchmark.dataset_table import DATASETS
from benchmark.datasets import CLASSES, SHAPES, load, load_corrupted
from benchmark.errors import InvalidData, NotFound
from tests.benchmark.data_files import (
    Bytes,
    cifar_records,
    drawn,
    labels_of,
    npy,
    of_form,
    publish,
    python2_batch,
    write_image,
    write_mnist,
    write_npy,
    write_svhn,
    write_tar,
)

N = 20


def as_tensor(images: Bytes) -> Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).to(torch.float32) / 255


def write_cifar10(root: Path, images: Bytes, labels: Bytes) -> None:
    records = cifar_records(images, labels)
    members = {f"cifar-10-batches-bin/data_batch_{part}.bin": records for part in range(1, 6)}
    write_tar(
        root / "cifar10/cifar-10-binary.tar.gz", members | {"cifar-10-batches-bin/test_batch.bin": records}, "w:gz"
    )


def write_cifar10_unpacked(root: Path, images: Bytes, labels: Bytes) -> None:
    write_cifar10(root, images, labels)
    path = root / "cifar10/cifar-10-binary.tar.gz"
    with tarfile.open(path) as archive:
        archive.extractall(root, filter="data")
    path.unlink()


def write_cifar10_python(root: Path, images: Bytes, labels: Bytes) -> None:
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for name in (*(f"data_batch_{part}" for part in range(1, 6)), "test_batch"):
        (folder / name).write_bytes(python2_batch(images, labels))


def write_cifar100(root: Path, images: Bytes, labels: Bytes) -> None:
    records = cifar_records(images, (labels // 5).astype(np.uint8), labels)
    names = ("cifar-100-binary/train.bin", "cifar-100-binary/test.bin")
    write_tar(root / "cifar100/cifar-100-binary.tar.gz", dict.fromkeys(names, records), "w:gz")


def write_cifar100_python(root: Path, images: Bytes, labels: Bytes) -> None:
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    for name in ("train", "test"):
        (folder / name).write_bytes(python2_batch(images, labels, "fine_labels"))


def write_mnist_as_torchvision(root: Path, images: Bytes, labels: Bytes) -> None:
    write_mnist(root / "MNIST/raw", images, labels)


def write_mnist_unpacked(root: Path, images: Bytes, labels: Bytes) -> None:
    write_mnist(root / "mnist", images, labels, suffix="")


def write_fashion_mnist(root: Path, images: Bytes, labels: Bytes) -> None:
    write_mnist(root / "fashion-mnist", images, labels)


def write_svhn_test(root: Path, images: Bytes, labels: Bytes) -> None:
    write_svhn(root / "svhn/test_32x32.mat", images, labels)


def write_cifar10_1(root: Path, images: Bytes, labels: Bytes) -> None:
    write_npy(root / "cifar10.1/cifar10.1_v6_data.npy", images)
    write_npy(root / "cifar10.1/cifar10.1_v6_labels.npy", labels.astype(np.int32))


FORMS: list[tuple[str, Callable[[Path, Bytes, Bytes], None]]] = [
    ("mnist", write_mnist_as_torchvision),
    ("mnist", write_mnist_unpacked),
    ("fashion-mnist", write_fashion_mnist),
    ("svhn", write_svhn_test),
    ("cifar10", write_cifar10),
    ("cifar10", write_cifar10_unpacked),
    ("cifar10", write_cifar10_python),
    ("cifar100", write_cifar100),
    ("cifar100", write_cifar100_python),
    ("cifar10.1", write_cifar10_1),
]


@pytest.mark.parametrize(("name", "write"), FORMS)
def test_every_form_gives_the_images_and_labels_that_were_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, write: Callable[[Path, Bytes, Bytes], None]
) -> None:
    images, labels = of_form(name, N)
    write(tmp_path, images, labels)
    publish(monkeypatch, name, tmp_path, {"test": N, "train": 5 * N if name == "cifar10" else N})
    points = load(name, data_dir=tmp_path)
    assert points.x.dtype == torch.float32
    assert torch.equal(points.x, as_tensor(images))
    assert torch.equal(points.y, torch.from_numpy(labels.astype(np.int64)))
    assert points.index == tuple(range(N))
    some = load(name, index=(7, 3, 11), data_dir=tmp_path)
    assert torch.equal(some.x, points.x[[7, 3, 11]])
    assert torch.equal(some.y, points.y[[7, 3, 11]])
    assert some.index == (7, 3, 11)
    assert name in available(tmp_path)
    assert [(split.name, split.points) for split in check(name, tmp_path) if split.name == "test"] == [("test", N)]


@pytest.mark.parametrize("write", [write_cifar10, write_cifar10_unpacked, write_cifar10_python])
def test_the_five_training_batches_follow_each_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, write: Callable[[Path, Bytes, Bytes], None]
) -> None:
    images, labels = of_form("cifar10", 3)
    write(tmp_path, images, labels)
    publish(monkeypatch, "cifar10", tmp_path, {"train": 15})
    points = load("cifar10", "train", data_dir=tmp_path)
    assert torch.equal(points.x, as_tensor(images).repeat(5, 1, 1, 1))


def write_corrupted(root: Path, title: str, images: Bytes, labels: Bytes, *, packed: bool) -> None:
    """Five blocks for each type: at severity s every value is s more."""
    blocks = np.concatenate([images + severity for severity in range(1, 6)])
    arrays = {f"{title}/{corruption}.npy": blocks for corruption in CORRUPTIONS}
    members = {name: npy(values) for name, values in arrays.items()}
    members[f"{title}/labels.npy"] = npy(np.tile(labels, 5))
    name = title.lower().replace("-", "", 1)
    if packed:
        write_tar(root / name / f"{title}.tar", members)
        return
    for path, content in members.items():
        (root / path).parent.mkdir(exist_ok=True)
        (root / path).write_bytes(content)


@pytest.mark.slow
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(("dataset", "title"), [("cifar10", "CIFAR-10-C"), ("cifar100", "CIFAR-100-C")])
def test_a_severity_of_a_corruption_is_its_block(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, dataset: str, title: str, packed: bool
) -> None:
    images, labels = (drawn(4) // 2).astype(np.uint8), labels_of(4, CLASSES[dataset])
    write_corrupted(tmp_path, title, images, labels, packed=packed)
    publish(monkeypatch, f"{dataset}-c", tmp_path, dict.fromkeys(DATASETS[f"{dataset}-c"].splits, 4))
    for corruption, severity in (("gaussian_noise", 1), ("fog", 3), ("jpeg_compression", 5)):
        points = load_corrupted(dataset, corruption, severity, data_dir=tmp_path)
        assert torch.equal(points.x, as_tensor(images + severity))
        assert torch.equal(points.y, torch.from_numpy(labels.astype(np.int64)))
    one = load_corrupted(dataset, "fog", 3, index=[2], data_dir=tmp_path)
    assert torch.equal(one.x, as_tensor(images + 3)[2:3])
    assert torch.equal(load_corrupted(dataset, "fog", 3, 2, data_dir=tmp_path).x, as_tensor(images + 3)[:2])
    assert f"{dataset}-c" in available(tmp_path)


def test_only_the_images_that_are_asked_for_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The array of a type stays in its file: a cell reads a fifth of it at most."""
    images, labels = (drawn(40) // 2).astype(np.uint8), labels_of(40)
    write_corrupted(tmp_path, "CIFAR-10-C", images, labels, packed=True)
    publish(monkeypatch, "cifar10-c", tmp_path, dict.fromkeys(DATASETS["cifar10-c"].splits, 40))
    load_corrupted("cifar10", "fog", 3, index=[0], data_dir=tmp_path)  # hashes the archive
    before = read_bytes()
    load_corrupted("cifar10", "fog", 3, index=range(2), data_dir=tmp_path)
    assert read_bytes() - before < 40 * 3072


def read_bytes() -> int:
    """Bytes that this process has read by system calls."""
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    return int(lines[0].removeprefix("rchar: "))


@pytest.mark.parametrize("corruption", ["speckle_noise", "../labels", "labels"])
def test_only_the_fifteen_types_are_known(tmp_path: Path, corruption: str) -> None:
    with pytest.raises(NotFound, match="TYPE/SEVERITY"):
        load_corrupted("cifar10", corruption, 1, data_dir=tmp_path)
    with pytest.raises(NotFound, match="TYPE/SEVERITY"):
        load_corrupted("cifar10", "fog", 6, data_dir=tmp_path)
    with pytest.raises(NotFound, match="cifar10, cifar100, imagenet"):
        load_corrupted("digits", "fog", 1)


def write_cinic10(root: Path, split: str, images: Bytes) -> None:
    for number, image in enumerate(images):
        write_image(root / "cinic10" / split / class_names("cifar10")[number % 10] / f"{number}.png", image)


def test_cinic_has_the_labels_of_cifar(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    images = drawn(30)
    write_cinic10(tmp_path, "test", images)
    publish(monkeypatch, "cinic10", tmp_path, {"test": 30})
    points = load("cinic10", data_dir=tmp_path)
    expected = {as_tensor(images)[number].numpy().tobytes(): number % 10 for number in range(30)}
    assert {x.numpy().tobytes(): int(y) for x, y in zip(points.x, points.y, strict=True)} == expected
    assert len(set(points.y[:10].tolist())) > 3, "the first points are not of one class"
    assert torch.equal(load("cinic10", n=5, data_dir=tmp_path).x, points.x[:5])
    shutil.rmtree(tmp_path / "cinic10/test/cat")
    with pytest.raises(InvalidData, match="no folder cat"):
        load("cinic10", data_dir=tmp_path)


def test_textures_are_those_of_the_list_at_the_size_of_cifar(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = [f"{name}/{name}_{number:04d}.jpg" for name in class_names("dtd") for number in (1, 2)]
    for number, name in enumerate(names):
        write_image(tmp_path / "dtd/images" / name, drawn(1, 40 + number % 7)[0, :, :38])
    (tmp_path / "dtd/labels").mkdir()
    (tmp_path / "dtd/labels/test1.txt").write_text("\n".join(names[::2]) + "\n", encoding="ascii")
    publish(monkeypatch, "dtd", tmp_path, {"test": 47})
    points = load("dtd", data_dir=tmp_path)
    assert points.x.shape == (47, *SHAPES["dtd"])
    assert sorted(points.y.tolist()) == list(range(47))
    assert load("dtd", n=3, data_dir=tmp_path, shape=(1, 8, 8)).x.shape == (3, 1, 8, 8)
    (tmp_path / "dtd/labels/test1.txt").write_text("banded/../../../etc/passwd\n", encoding="ascii")
    with pytest.raises(InvalidData, match="banded_0002"):
        load("dtd", data_dir=tmp_path)


@pytest.mark.parametrize("flat", [False, True])
def test_imagenet_is_the_list_in_its_order(tmp_path: Path, flat: bool) -> None:
    listed = listed_images()[:4]
    for number, name in enumerate(listed):
        pixels = np.full((300, 260 + 10 * number, 3), 40 * number, dtype=np.uint8)
        write_image(tmp_path / "imagenet/val" / (name.partition("/")[2] if flat else name), pixels)
    points = load("imagenet", n=4, data_dir=tmp_path)
    assert points.x.shape == (4, 3, 224, 224)
    assert (points.x.mean((1, 2, 3)) * 255).round().int().tolist() == [0, 40, 80, 120]
    assert points.y.tolist() == [class_names("imagenet").index(name.partition("/")[0]) for name in listed]
    assert load("imagenet", index=[2], data_dir=tmp_path, preprocessing="Crop288").x.shape == (1, 3, 288, 288)
    missing = rf"{listed_images()[4].partition('/')[2]}: found no file; 4,996 of 5,000 images are missing"
    with pytest.raises(InvalidData, match=missing):
        load("imagenet", n=5, data_dir=tmp_path)


def test_imagenets_folder_may_be_the_users_own(tmp_path: Path) -> None:
    write_image(tmp_path / "val" / listed_images()[0], drawn(1, 256)[0])
    (tmp_path / "data/imagenet").mkdir(parents=True)
    (tmp_path / "data/imagenet/val").symlink_to(tmp_path / "val")
    assert torch.equal(load("imagenet", n=1, data_dir=tmp_path).x, load("imagenet", n=1, data_dir=tmp_path / "data").x)


def test_a_folder_of_that_name_with_other_images_is_not_imagenet(tmp_path: Path) -> None:
    write_image(tmp_path / "val/000000000139.jpg", drawn(1)[0])
    assert available(tmp_path) == ("digits",)
    with pytest.raises(NotFound, match=r"without val/n09468604/ILSVRC2012_val_00015253\.JPEG"):
        load("imagenet", data_dir=tmp_path)


def test_corrupted_imagenet_is_the_same_list(tmp_path: Path) -> None:
    first, name = listed_images()[:2]
    write_image(tmp_path / "ImageNet-C/fog/2" / first, drawn(1, 224)[0])
    write_image(tmp_path / "ImageNet-C/fog/2" / name, np.full((224, 224, 3), 99, dtype=np.uint8))
    points = load_corrupted("imagenet", "fog", 2, index=[1], data_dir=tmp_path)
    assert points.x.shape == (1, 3, 224, 224)
    assert round(float(points.x.mean() * 255)) == 99
    assert points.y.tolist() == [class_names("imagenet").index(name.partition("/")[0])]


def test_the_list_of_imagenet_is_whole() -> None:
    listed, synsets = listed_images(), class_names("imagenet")
    assert len(set(listed)) == DATASETS["imagenet"].splits["test"] == 5_000
    assert len(set(synsets)) == 1_000
    assert list(synsets) == sorted(synsets)
    assert {name.partition("/")[0] for name in listed} <= set(synsets)
