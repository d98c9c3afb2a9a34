"""IDX, the format of MNIST: a header with the sizes, then the values, with or without gzip around them.

Source:
    LeCun, Cortes & Burges, The MNIST database of handwritten digits, "file formats".
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from benchmark.data_formats.rows import DOWNLOAD_AGAIN, Rows, rows_of_arrays
from benchmark.errors import InvalidData

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_GZIP = b"\x1f\x8b"
_BYTES = 0x08
"""Type of the values: unsigned bytes, the only one that images and labels come in."""
MAX_BYTES = 1024**3


@dataclass(frozen=True)
class IdxReader:
    """Reads a file of grey images and one of labels.

    Args:
        files: names of both, by split.
    """

    files: Mapping[str, tuple[str, str]]

    def __call__(self, folder: Path, split: str) -> Rows:
        """Return the rows of a split."""
        images, labels = self.files[split]
        return rows_of_arrays(folder / images, read_idx(folder / images, 3)[..., None], read_idx(folder / labels, 1))


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Return the values of an IDX file of bytes.

    Args:
        path: of the file.
        dimensions: how many it should have.
    Raises:
        InvalidData: it is of another kind, cut off, or longer than its header says.
    """
    import numpy as np

    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == _GZIP
        with gzip.open(path) if packed else path.open("rb") as file:
            header = file.read(4 + 4 * dimensions)
            if header[:4] != bytes((0, 0, _BYTES, dimensions)) or len(header) < 4 + 4 * dimensions:
                _refuse(path, f"a file that begins with {header[:4].hex(' ') or 'nothing'}", dimensions)
            shape = struct.unpack(f">{dimensions}I", header[4:])
            size = math.prod(shape)
            if size > MAX_BYTES:
                _refuse(path, f"sizes {shape}, more than {MAX_BYTES:,} values", dimensions)
            values = file.read(size + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        _refuse(path, str(error), dimensions)
    if len(values) != size:
        _refuse(path, f"{'more' if len(values) > size else 'fewer'} than the {size:,} values of its header", dimensions)
    return np.frombuffer(values, dtype=np.uint8).reshape(shape)


def _refuse(path: Path, found: str, dimensions: int) -> NoReturn:
    raise InvalidData.because(
        str(path), found=found, expected=f"an IDX file of bytes in {dimensions} dimensions", remedy=DOWNLOAD_AGAIN
    )
