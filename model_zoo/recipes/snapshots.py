"""Where an unfinished training stands, in a file from which it goes on bit by bit as if it had not been interrupted.

The file is safetensors: weights, momentum, the generator's state and the present epoch's order as tensors; the settings
and the figures so far as JSON in its metadata, and a hash of all, for a flipped bit would go into every weight.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from benchmark.errors import Conflict, InvalidCheckpoint, NotFound
from model_zoo.recipes.progress import TrainingProgress

_BEGIN_ANEW = "delete it and begin anew"


class Standing(BaseModel):
    """The figures of an unfinished training.

    Args:
        epoch: epochs done.
        batch: batches done in the next one.
        loss: summed over the updates of these batches.
        correct: images classified correctly in these updates.
        history: what was told of each epoch.
        best_epoch: epoch of the weights that are the best so far.
    """

    model_config = ConfigDict(extra="forbid")

    epoch: int = 0
    batch: int = 0
    loss: float = 0.0
    correct: int = 0
    history: tuple[TrainingProgress, ...] = ()
    best_epoch: int | None = None


@dataclass(frozen=True)
class Snapshot:
    """An unfinished training.

    Args:
        settings: everything that decides the result, as text under the field's name.
        standing: its figures.
        tensors: its tensors.
    """

    settings: Mapping[str, str]
    standing: Standing
    tensors: Mapping[str, Tensor]

    def write(self, path: Path) -> None:
        """Write the file; whoever is killed meanwhile leaves the previous one whole."""
        metadata = {"settings": json.dumps(dict(self.settings)), "standing": self.standing.model_dump_json()}
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.tensors.items()}
        data = save(tensors, {**metadata, "sha256": _digest(metadata, tensors)})
        unfinished = path.with_name(f"{path.name}.part")
        with unfinished.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)


def read_snapshot(path: Path, settings: Mapping[str, str]) -> Snapshot:
    """Read the snapshot of a training with these settings.

    Raises:
        NotFound: there is none.
        InvalidCheckpoint: the file is none, or damaged.
        Conflict: it belongs to other settings; the error names the first that differs.
    """
    if not path.is_file():
        raise NotFound.because(
            "snapshot", found=f"nothing at {str(path)!r}", expected="the snapshot of an interrupted training",
            remedy="leave out --resume to begin",
        )  # fmt: skip
    snapshot = _read(path)
    for field in {**settings, **snapshot.settings}:
        found, wanted = snapshot.settings.get(field, "nothing"), settings.get(field, "nothing")
        if found != wanted:
            raise Conflict.because(
                field, found=f"{found} in the snapshot {str(path)!r}", expected=wanted,
                remedy="resume with the settings that it was begun with, or delete it and begin anew",
            )  # fmt: skip
    return snapshot


def _read(path: Path) -> Snapshot:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        if metadata.pop("sha256") != _digest(metadata, tensors):
            raise ValueError("the content is not that of the hash")
        settings = {str(field): str(value) for field, value in json.loads(metadata["settings"]).items()}
        return Snapshot(settings, Standing.model_validate_json(metadata["standing"]), tensors)
    except (SafetensorError, ValidationError, KeyError, ValueError, AttributeError) as error:
        raise InvalidCheckpoint.because(
            "snapshot", found=f"{str(path)!r}, which is none or damaged", expected="the file of an unfinished training",
            remedy=_BEGIN_ANEW,
        ) from error  # fmt: skip


def _digest(metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(sorted(metadata.items())).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
