"""How far a training is, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from benchmark.errors import GauntletError
from model_zoo.recipes.monitoring import Measurement


class TrainingFailed(GauntletError):
    """A training did not come to weights that can be used."""

    code = "training_failed"


class TrainingInterrupted(GauntletError):
    """A training was stopped on request."""

    code = "training_interrupted"


@dataclass(frozen=True)
class TrainingProgress:
    """Where training stands after an epoch.

    Args:
        epoch: epochs done.
        epochs: epochs in all.
        loss: mean loss of the epoch, on the images trained upon.
        accuracy: share of them classified correctly while training: as perturbed, but with TRADES as they are.
        measured: on the held-out images; None where there are none.
    """

    epoch: int
    epochs: int
    loss: float
    accuracy: float
    measured: Measurement | None = None


@dataclass(frozen=True)
class Trained:
    """What a training has come to.

    Args:
        state: the state dict.
        epoch: after which these weights are.
        history: every epoch, the later ones included.
    """

    state: dict[str, Tensor]
    epoch: int
    history: tuple[TrainingProgress, ...]

    @property
    def measured(self) -> Measurement | None:
        """What was measured of these weights."""
        return self.history[self.epoch - 1].measured

    @property
    def overfitted_in(self) -> int | None:
        """The first epoch in which catastrophic overfitting was seen, if any."""
        seen = (progress.epoch for progress in self.history if progress.measured and progress.measured.overfitted)
        return next(seen, None)
