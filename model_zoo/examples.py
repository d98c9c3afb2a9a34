"""From a file of adversarial examples to a tensor. What the values are worth is the judge's business."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from model_zoo.checkpoints.examples import check_examples
from model_zoo.checkpoints.header import ITEM_BYTES
from model_zoo.checkpoints.npy import DType

_DTYPES: Mapping[DType, torch.dtype] = {"F32": torch.float32, "F64": torch.float64}


def load_examples(path: Path) -> Tensor:
    """Load the images of a file, from its bytes and by nobody's loader.

    Values of float64 are rounded to float32, in which models run and the judge judges: by up to 3e-8, well within its
    tolerance. Values that are not finite or outside [0, 1] pass through, for the judge counts them.

    Args:
        path: a .npy or safetensors file; nothing in it is trusted.
    Returns:
        Images, (n, c, h, w), float32.
    Raises:
        InvalidExamples: the file is malformed, or holds something else.
    """
    found = check_examples(path)
    with path.open("rb") as file:
        file.seek(found.data_start)
        data = bytearray(file.read(math.prod(found.shape) * ITEM_BYTES[found.dtype]))
    return torch.frombuffer(data, dtype=_DTYPES[found.dtype]).reshape(found.shape).float()
