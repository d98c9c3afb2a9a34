"""Read MNIST and CIFAR-10 from the files people have them in."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def read_mnist(folder: Path) -> tuple[Tensor, Tensor]:
    """Return the 10,000 test images, (n, 1, 28, 28) uint8, and their labels.

    Args:
        folder: holds t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz.
    """
    images = gzip.decompress((folder / "t10k-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((folder / "t10k-labels-idx1-ubyte.gz").read_bytes())
    # Headers of the IDX format: 4 bytes of type, then 4 bytes for each dimension.
    pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 1, 28, 28)
    return torch.from_numpy(pixels.copy()), torch.from_numpy(np.frombuffer(labels, np.uint8, offset=8).copy())


def read_cifar(folder: Path, split: str, per_class: int) -> tuple[Tensor, Tensor]:
    """Return images, (n, 3, 32, 32) uint8, and their labels, the classes taking turns.

    Args:
        folder: holds train.tar.xz and test.tar.xz with split/class/number.jpg.
        split: "train" or "test".
        per_class: how many of each class, the first by number.
    """
    found: dict[tuple[int, int], Tensor] = {}
    with tarfile.open(folder / f"{split}.tar.xz") as archive:
        for member in archive:
            path = Path(member.name)
            if member.isfile() and path.suffix == ".jpg" and int(path.stem) < per_class:
                content = archive.extractfile(member)
                if content is None:
                    raise ValueError(f"{member.name} cannot be read")
                pixels = np.asarray(Image.open(io.BytesIO(content.read())).convert("RGB"))
                label = CIFAR_CLASSES.index(path.parent.name)
                found[int(path.stem), label] = torch.from_numpy(pixels.copy()).permute(2, 0, 1)
    order = sorted(found)
    return torch.stack([found[key] for key in order]), torch.tensor([label for _, label in order], dtype=torch.uint8)
