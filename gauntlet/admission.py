"""What the store must know of the model zoo, to refuse at once what can be refused without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from model_zoo.checkpoints.header import read_header
from model_zoo.registry import ARCHITECTURES


@dataclass(frozen=True)
class ZooAdmission:
    """The zoo's registry and safetensors reader, as the store asks for them.

    Args:
        max_checkpoint_bytes: size above which a checkpoint is refused.
    """

    max_checkpoint_bytes: int

    def architectures(self, dataset: str) -> tuple[str, ...]:
        """Names of the registered architectures that fit the data set."""
        return tuple(entry.name for entry in ARCHITECTURES.values() if dataset in entry.datasets)

    def check_header(self, path: Path) -> None:
        """Raise InvalidCheckpoint where the file is not a sound safetensors file."""
        read_header(path)
