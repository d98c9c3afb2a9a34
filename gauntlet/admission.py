"""What the store must know of the model zoo, to refuse at once what can be refused without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from model_zoo.checkpoints.examples import check_examples_of
from model_zoo.checkpoints.formats import EXPORTED, check_file, check_fits, check_upload
from model_zoo.registry import ARCHITECTURES


@dataclass(frozen=True)
class ZooAdmission:
    """The zoo's registry and readers of files, as the store asks for them.

    Args:
        max_checkpoint_bytes: size above which a checkpoint is refused.
    """

    max_checkpoint_bytes: int

    def architectures(self, dataset: str) -> tuple[str, ...]:
        """Names of the registered architectures that fit the data set, and what stands for a network of one's own."""
        return (*(entry.name for entry in ARCHITECTURES.values() if dataset in entry.datasets), EXPORTED)

    def check_file(self, path: Path) -> None:
        """Raise InvalidCheckpoint where the file is no sound checkpoint."""
        check_file(path)

    def check_fits(self, path: Path, architecture: str) -> None:
        """Raise InvalidCheckpoint where the file is no sound checkpoint for that architecture."""
        check_fits(path, architecture)

    def check_upload(self, path: Path) -> None:
        """Raise InvalidCheckpoint or InvalidExamples where the file is a sound one of neither kind."""
        check_upload(path)

    def check_examples(self, path: Path, dataset: str, count: int) -> None:
        """Raise InvalidExamples where the file does not hold one image for each of so many points of the data set."""
        check_examples_of(path, dataset, count)
