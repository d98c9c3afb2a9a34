"""The python version of CIFAR, as torchvision unpacks it: pickles, taken apart and never unpickled.

A pickle is a program for a machine that can call anything. ``pickletools`` lists its instructions without following
them. Here the instructions are looked through for what they would put under two keys: the bytes of the images, and the
labels.
"""

from __future__ import annotations

import pickletools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from benchmark.data_formats.cifar_binary import PIXELS, images_of
from benchmark.data_formats.rows import DOWNLOAD_AGAIN, Rows, rows_of_arrays
from benchmark.errors import InvalidData

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_KEYS = frozenset({"batch_label", "coarse_labels", "data", "filenames", "fine_labels", "labels"})


@dataclass(frozen=True)
class CifarPythonReader:
    """Reads batches, one after the other.

    Args:
        files: their names, by split.
        labels: key of the labels.
    """

    files: Mapping[str, tuple[str, ...]]
    labels: str

    def __call__(self, folder: Path, split: str) -> Rows:
        """Return the rows of a split."""
        import numpy as np

        batches = [read_batch(folder / name, self.labels) for name in self.files[split]]
        images, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
        return rows_of_arrays(folder / self.files[split][0], images, labels)


def read_batch(path: Path, labels: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the images and the labels of one batch.

    Args:
        path: of the batch.
        labels: key of the labels.
    Raises:
        InvalidData: it is no such pickle.
    """
    import numpy as np

    try:
        with path.open("rb") as file:
            pixels, found = _looked_through(file, labels)
    except (ValueError, OverflowError, UnicodeDecodeError) as error:  # what pickletools raises on other files
        raise _no_batch(path, str(error)) from None
    if not found or len(pixels) != len(found) * PIXELS or min(found) < 0:
        raise _no_batch(path, f"{len(pixels):,} bytes of images and {len(found):,} labels")
    return images_of(np.frombuffer(pixels, dtype=np.uint8)), np.asarray(found, dtype=np.int64)


def _looked_through(file: BinaryIO, labels: str) -> tuple[bytes, list[int]]:
    """Return what stands after the key of the images, and the numbers after that of the labels."""
    key, pixels = "", b""
    found: list[int] = []
    for instruction, argument, _ in pickletools.genops(file):
        text = _text(argument) if instruction.name.endswith(("STRING", "UNICODE", "BYTES", "BYTES8")) else None
        if text is not None and len(text) < PIXELS:
            key = text.decode("latin-1") if text.decode("latin-1") in _KEYS else key
        elif text is not None and key == "data":
            pixels += text
        elif key == labels and isinstance(argument, int) and instruction.name.startswith("BININT"):
            found.append(argument)
    return pixels, found


def _text(argument: Any) -> bytes:
    return argument if isinstance(argument, bytes) else str(argument).encode("latin-1")


def _no_batch(path: Path, found: str) -> InvalidData:
    return InvalidData.because(
        str(path), found=found, expected="a batch of CIFAR's python version", remedy=DOWNLOAD_AGAIN
    )
