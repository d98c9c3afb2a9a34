"""The data sets by name: one entry each. Nothing here needs torch or numpy.

Names, sizes, checksums and addresses of files are in data/dataset_files.json.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from benchmark.corruptions.names import CORRUPTIONS, SEVERITIES
from benchmark.data_formats.cifar_binary import CifarBinaryReader
from benchmark.data_formats.cifar_python import CifarPythonReader
from benchmark.data_formats.classes import listed_images
from benchmark.data_formats.digits import SPLITS as DIGITS_SPLITS
from benchmark.data_formats.digits import read_digits
from benchmark.data_formats.idx import IdxReader
from benchmark.data_formats.image_folder import ImageFolderReader, ListedImageNetReader, ListedTexturesReader
from benchmark.data_formats.mat import MatReader
from benchmark.data_formats.npy import CorruptedReader, NpyReader
from benchmark.dataset_entry import DataFile, DataSet, Form

CELLS = tuple(f"{corruption}/{severity}" for corruption in CORRUPTIONS for severity in SEVERITIES)
"""Splits of the data sets of corrupted images."""

_CIFAR_TERMS = "no licence is stated; cite Krizhevsky 2009, Learning multiple layers of features from tiny images"
_IMAGENET_TERMS = "non-commercial research, as agreed with ImageNet; never downloaded or handed out here"
_CC_BY = "CC BY 4.0"


def _read_files() -> dict[str, dict[str, DataFile]]:
    content = json.loads((Path(__file__).parent / "data" / "dataset_files.json").read_text(encoding="utf-8"))
    return {
        dataset: {name: DataFile(name, **known) for name, known in files.items()} for dataset, files in content.items()
    }


_FILES = _read_files()


def _by_split(files: Mapping[str, DataFile], names: Mapping[str, Iterable[str]]) -> dict[str, tuple[DataFile, ...]]:
    return {split: tuple(files[name] for name in wanted) for split, wanted in names.items()}


def _mnist(dataset: DataSet, folders: tuple[str, ...]) -> DataSet:
    """Complete an entry whose files are IDX, packed as they are published, or unpacked."""
    prefixes = {"train": "train", "test": "t10k"}
    packed = {
        split: (f"{prefix}-images-idx3-ubyte.gz", f"{prefix}-labels-idx1-ubyte.gz")
        for split, prefix in prefixes.items()
    }
    unpacked = {split: (images[:-3], labels[:-3]) for split, (images, labels) in packed.items()}
    files = _FILES[dataset.name]
    forms = (
        Form(folders, _by_split(files, packed), IdxReader(packed)),
        Form(folders, {split: tuple(map(DataFile, names)) for split, names in unpacked.items()}, IdxReader(unpacked)),
    )
    return replace(dataset, forms=forms, downloads=tuple(files.values()))


def _cifar(dataset: DataSet, parts: Mapping[str, tuple[str, ...]], binary: str, python: str, labels: str) -> DataSet:
    """Complete an entry whose files are CIFAR's binary version, unpacked or not, or the python version."""
    files = _FILES[dataset.name]
    bins = {split: tuple(f"{binary}/{part}.bin" for part in names) for split, names in parts.items()}
    batches = {split: tuple(f"{python}/{part}" for part in names) for split, names in parts.items()}
    (archive,) = (file for file in files.values() if file.url)
    label_bytes = 1 if labels == "labels" else 2
    folders = (dataset.name, ".")
    forms = (
        Form(folders, _by_split(files, bins), CifarBinaryReader(bins, label_bytes)),
        Form(folders, _by_split(files, batches), CifarPythonReader(batches, labels)),
        Form(folders, dict.fromkeys(parts, (archive,)), CifarBinaryReader(bins, label_bytes, archive.name)),
    )
    instead = f"the unpacked {binary}, or {python}, as torchvision unpacks the python version"
    return replace(dataset, forms=forms, downloads=(archive,), instead=instead)


def _corrupted_cifar(dataset: DataSet) -> DataSet:
    """Complete an entry whose files are arrays in an archive, unpacked or not."""
    files = _FILES[dataset.name]
    (archive,) = (file for file in files.values() if file.url)
    inside = f"{archive.name.removesuffix('.tar')}/"
    arrays = {cell: (f"{inside}{cell.partition('/')[0]}.npy", f"{inside}labels.npy") for cell in CELLS}
    folders = (dataset.name, ".")
    forms = (
        Form(folders, _by_split(files, arrays), CorruptedReader(inside)),
        Form(folders, dict.fromkeys(CELLS, (archive,)), CorruptedReader(inside, archive.name)),
    )
    return replace(dataset, forms=forms, downloads=(archive,), instead=f"the unpacked {inside}")


def _imagenet(folders: tuple[str, ...], inside: Mapping[str, str]) -> tuple[Form, ...]:
    """Return the forms of images in folders by class, or all in one; by the first of the list they are told."""
    first = listed_images()[0]
    return tuple(
        Form(
            folders,
            {split: (DataFile(folder), DataFile(f"{folder}{image}")) for split, folder in inside.items()},
            ListedImageNetReader(inside),
        )
        for image in (first, first.partition("/")[2])
    )


_ENTRIES = (
    DataSet(
        name="digits",
        title="UCI digits",
        labels="digits",
        shape=(1, 8, 8),
        splits={split: place.stop - place.start for split, place in DIGITS_SPLITS.items()},
        forms=(Form((), {}, read_digits),),
        page="https://archive.ics.uci.edu/dataset/80",
        terms=_CC_BY,
        how="install scikit-learn, which brings it along",
    ),
    _mnist(
        DataSet(
            name="mnist",
            title="MNIST",
            labels="digits",
            shape=(1, 28, 28),
            splits={"train": 60_000, "test": 10_000},
            page="http://yann.lecun.com/exdb/mnist/",
            terms="CC BY-SA 3.0, as is commonly stated; the copyright is LeCun's and Cortes'",
        ),
        ("mnist", "MNIST/raw"),
    ),
    _mnist(
        DataSet(
            name="fashion-mnist",
            title="Fashion-MNIST",
            labels="fashion-mnist",
            shape=(1, 28, 28),
            splits={"train": 60_000, "test": 10_000},
            page="https://github.com/zalandoresearch/fashion-mnist",
            terms="MIT",
        ),
        ("fashion-mnist", "FashionMNIST/raw"),
    ),
    DataSet(
        name="svhn",
        title="SVHN, cropped digits",
        labels="digits",
        shape=(3, 32, 32),
        splits={"train": 73_257, "test": 26_032, "extra": 531_131},
        forms=(
            Form(
                ("svhn", "."),
                _by_split(_FILES["svhn"], {split: (f"{split}_32x32.mat",) for split in ("train", "test", "extra")}),
                MatReader({split: f"{split}_32x32.mat" for split in ("train", "test", "extra")}),
            ),
        ),
        page="http://ufldl.stanford.edu/housenumbers/",
        terms="for non-commercial use only",
        downloads=tuple(_FILES["svhn"].values()),
    ),
    _cifar(
        DataSet(
            name="cifar10",
            title="CIFAR-10",
            labels="cifar10",
            shape=(3, 32, 32),
            splits={"train": 50_000, "test": 10_000},
            page="https://www.cs.toronto.edu/~kriz/cifar.html",
            terms=_CIFAR_TERMS,
        ),
        {"train": tuple(f"data_batch_{number}" for number in range(1, 6)), "test": ("test_batch",)},
        binary="cifar-10-batches-bin",
        python="cifar-10-batches-py",
        labels="labels",
    ),
    _cifar(
        DataSet(
            name="cifar100",
            title="CIFAR-100",
            labels="cifar100",
            shape=(3, 32, 32),
            splits={"train": 50_000, "test": 10_000},
            page="https://www.cs.toronto.edu/~kriz/cifar.html",
            terms=_CIFAR_TERMS,
        ),
        {"train": ("train",), "test": ("test",)},
        binary="cifar-100-binary",
        python="cifar-100-python",
        labels="fine_labels",
    ),
    _corrupted_cifar(
        DataSet(
            name="cifar10-c",
            title="CIFAR-10-C",
            labels="cifar10",
            shape=(3, 32, 32),
            splits=dict.fromkeys(CELLS, 10_000),
            page="https://zenodo.org/records/2535967",
            terms=_CC_BY,
        )
    ),
    _corrupted_cifar(
        DataSet(
            name="cifar100-c",
            title="CIFAR-100-C",
            labels="cifar100",
            shape=(3, 32, 32),
            splits=dict.fromkeys(CELLS, 10_000),
            page="https://zenodo.org/records/3555552",
            terms=_CC_BY,
        )
    ),
    DataSet(
        name="cifar10.1",
        title="CIFAR-10.1, version 6",
        labels="cifar10",
        shape=(3, 32, 32),
        splits={"test": 2_000},
        forms=(
            Form(
                ("cifar10.1", "."),
                {"test": tuple(_FILES["cifar10.1"].values())},
                NpyReader("cifar10.1_v6_data.npy", "cifar10.1_v6_labels.npy"),
            ),
        ),
        page="https://github.com/modestyachts/CIFAR-10.1",
        terms="MIT",
        downloads=tuple(_FILES["cifar10.1"].values()),
    ),
    DataSet(
        name="cinic10",
        title="CINIC-10",
        labels="cifar10",
        shape=(3, 32, 32),
        splits={"train": 90_000, "valid": 90_000, "test": 90_000},
        forms=(
            Form(
                ("cinic10", "CINIC-10"),
                {split: (DataFile(f"{split}/"), DataFile(f"{split}/frog/")) for split in ("train", "valid", "test")},
                ImageFolderReader("cifar10"),
            ),
        ),
        page="https://datashare.ed.ac.uk/handle/10283/3192",
        terms=f"{_CC_BY}; many of its images are ImageNet's, whose terms hold as well",
        downloads=tuple(_FILES["cinic10"].values()),
        unpack=True,
    ),
    DataSet(
        name="dtd",
        title="Describable Textures",
        labels="dtd",
        shape=(3, 32, 32),
        splits={"train": 1_880, "val": 1_880, "test": 1_880},
        forms=(
            Form(
                ("dtd/dtd", "dtd"),
                {split: (DataFile("images/"), DataFile(f"labels/{split}1.txt")) for split in ("train", "val", "test")},
                ListedTexturesReader({split: f"labels/{split}1.txt" for split in ("train", "val", "test")}),
            ),
        ),
        page="https://www.robots.ox.ac.uk/~vgg/data/dtd/",
        terms="for research purposes",
        downloads=tuple(_FILES["dtd"].values()),
        unpack=True,
        preprocessing="Res32Crop32",
    ),
    DataSet(
        name="imagenet",
        title="ImageNet, 5,000 validation images",
        labels="imagenet",
        shape=(3, 224, 224),
        splits={"test": 5_000},
        forms=_imagenet(("imagenet", "."), {"test": "val/"}),
        page="https://image-net.org/download.php",
        terms=_IMAGENET_TERMS,
        how="agree to the terms at https://image-net.org, get the validation images of ILSVRC 2012, and put them, or a "
        "link to them, at {folder}/val: as SYNSET/FILE.JPEG, or all in one folder",
        preprocessing="Res256Crop224",
    ),
    DataSet(
        name="imagenet-c",
        title="ImageNet-C, of the same 5,000 images",
        labels="imagenet",
        shape=(3, 224, 224),
        splits=dict.fromkeys(CELLS, 5_000),
        forms=_imagenet(("imagenet-c", "ImageNet-C"), {cell: f"{cell}/" for cell in CELLS}),
        page="https://zenodo.org/records/2235448",
        terms=f"{_CC_BY}; the images are ImageNet's, whose terms hold as well",
        how="get blur.tar, digital.tar, noise.tar and weather.tar from https://zenodo.org/records/2235448 and unpack "
        "them in {folder}, so that it holds CORRUPTION/SEVERITY/SYNSET/FILE.JPEG",
        preprocessing="Res224",
    ),
)
DATASETS: Mapping[str, DataSet] = MappingProxyType({entry.name: entry for entry in _ENTRIES})
"""Every data set under its name."""
