"""The binary version of CIFAR: records of a label or two and 3,072 values, red, green and blue one after the other.

Source:
    Krizhevsky 2009, Learning multiple layers of features from tiny images; https://www.cs.toronto.edu/~kriz/cifar.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.data_formats.rows import DOWNLOAD_AGAIN, Rows, rows_of_arrays
from benchmark.data_formats.tar import read_members
from benchmark.errors import InvalidData

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SIDE = 32
PIXELS = 3 * SIDE * SIDE
MAX_BYTES = 512 * 1024**2


@dataclass(frozen=True)
class CifarBinaryReader:
    """Reads files of records, one after the other.

    Args:
        files: their names, by split.
        label_bytes: labels of a record; the last of them is the one that counts.
        archive: name of the archive that they are in; None where they lie in the folder.
    """

    files: Mapping[str, tuple[str, ...]]
    label_bytes: int
    archive: str | None = None

    def __call__(self, folder: Path, split: str) -> Rows:
        """Return the rows of a split."""
        import numpy as np

        names = self.files[split]
        if self.archive is not None:
            path = folder / self.archive
            members = read_members(path, names, MAX_BYTES)
            content = b"".join(members[name] for name in names)
        else:
            path = folder / names[0]
            content = b"".join((folder / name).read_bytes() for name in names)
        size = self.label_bytes + PIXELS
        if len(content) % size or not content:
            raise InvalidData.because(
                str(path), found=f"{len(content):,} bytes", expected=f"whole records of {size:,} bytes",
                remedy=DOWNLOAD_AGAIN,
            )  # fmt: skip
        records = np.frombuffer(content, dtype=np.uint8).reshape(-1, size)
        return rows_of_arrays(path, images_of(records[:, self.label_bytes :]), records[:, self.label_bytes - 1])


def images_of(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the images, (n, h, w, c), of rows of 3,072 values."""
    return values.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
