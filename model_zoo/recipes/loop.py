"""The training loop, the same for every recipe and bit for bit repeatable on one machine."""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmark.datasets import LabelledPoints, load
from benchmark.errors import ErrorDetail, InvalidInput
from benchmark.threat_models import ThreatModel
from model_zoo.building import build
from model_zoo.recipe import Recipe
from model_zoo.recipes.augmentation import MARGIN, shifted
from model_zoo.recipes.monitoring import Measurement, measure
from model_zoo.recipes.objectives import objective_of
from model_zoo.recipes.progress import Trained, TrainingFailed, TrainingInterrupted, TrainingProgress
from model_zoo.recipes.snapshots import Snapshot, Standing, read_snapshot
from model_zoo.registry import Card

_MOMENTUM = 0.9
_WARM_UP = 0.3
_SPLIT_SEED = 0
"""The images that are held out are the same for every seed, so that seeds can be compared."""

Tell = Callable[[TrainingProgress], None]
Continue = Callable[[float], bool]


@dataclass(frozen=True)
class Snapshots:
    """Where an unfinished training is kept.

    Args:
        path: of the file.
        names: what the caller calls the data set and the network, so that a snapshot of others can be refused.
        interval_s: seconds between two snapshots at least.
        resume: whether to go on from what is there.
    """

    path: Path
    names: Mapping[str, str] = field(default_factory=dict)
    interval_s: float = 30.0
    resume: bool = False


def train(card: Card, progress: Tell | None = None) -> dict[str, Tensor]:
    """Train a model as its card says.

    The seed decides weights, order of the images and noise; one thread and deterministic kernels do the rest, so that
    one machine gives the same bits each time. Another processor may round differently.

    Args:
        card: names data set, architecture and recipe; its sha256 is not looked at.
        progress: called after each epoch.
    Returns:
        The state dict.
    """
    model = build(card.architecture, card.dataset, card.recipe.seed)
    return train_network(model, load(card.dataset, "train"), card.recipe, progress=progress).state


def train_network(
    model: nn.Module,
    points: LabelledPoints,
    recipe: Recipe,
    *,
    progress: Tell | None = None,
    proceed: Continue | None = None,
    snapshots: Snapshots | None = None,
) -> Trained:
    """Train a network on images, likewise repeatable.

    Args:
        model: the network, with the weights that it begins with; it is trained in place, on the device where it is.
        points: images and labels, of which the recipe may hold some out.
        recipe: how.
        progress: called after each epoch.
        proceed: called after each batch with the part of the training that is done; False interrupts it.
        snapshots: where to keep what is unfinished; by default nowhere.
    Raises:
        TrainingFailed: the loss is not a number any more.
        TrainingInterrupted: `proceed` said so.
        InvalidInput: the recipe holds out more images than there are, or the snapshot is not of this training.
    """
    training = _Training(model, points, recipe, snapshots.names if snapshots is not None else {})
    if snapshots is not None and snapshots.resume:
        training.restore(read_snapshot(snapshots.path, training.settings))
    with _repeatable(training.device):
        written = time.monotonic()
        while not training.ended:
            training.advance()
            going = proceed is None or proceed(training.done)
            if snapshots is not None and (not going or time.monotonic() - written >= snapshots.interval_s):
                training.snapshot().write(snapshots.path)
                written = time.monotonic()
            if not going:
                raise TrainingInterrupted("The training was interrupted.")
            told = training.finish_epoch()
            if told is not None and progress is not None:
                progress(told)
    return training.result()


class _Training:
    """An unfinished training: everything that changes from batch to batch."""

    def __init__(self, model: nn.Module, points: LabelledPoints, recipe: Recipe, names: Mapping[str, str]) -> None:
        self._model = model
        self.device = next(model.parameters()).device
        self._recipe = recipe
        self._points, self._held_out = _split(points, recipe.validation)
        self._budget = ThreatModel(recipe.norm, recipe.epsilon) if recipe.norm and recipe.epsilon else None
        self._generator = torch.Generator().manual_seed(recipe.seed)
        self._objective = objective_of(recipe, self._generator)
        self._epochs = -(-recipe.epochs // self._objective.replays)
        self._batches = -(-len(self._points.y) // recipe.batch_size)
        self._order = torch.empty(0, dtype=torch.int64)
        self._best: dict[str, Tensor] = {}
        self._optimizer = torch.optim.SGD(
            model.parameters(),
            lr=recipe.learning_rate,
            momentum=_MOMENTUM,
            nesterov=True,
            weight_decay=recipe.weight_decay,
        )
        self._standing = Standing()
        self.settings: Mapping[str, str] = {
            **names,
            **{f"recipe.{name}": str(value) for name, value in recipe.model_dump().items()},
            "device": self.device.type,
            "network": hashlib.sha256(repr(model).encode()).hexdigest(),
            "images": _digest(points),
        }

    @property
    def done(self) -> float:
        """The part that is done."""
        return (self._standing.epoch + self._standing.batch / self._batches) / self._epochs

    @property
    def ended(self) -> bool:
        """Whether the last epoch is done, or the recipe wants no more."""
        standing, recipe = self._standing, self._recipe
        if standing.epoch >= self._epochs:
            return True
        last = standing.history[-1].measured if standing.history else None
        if standing.batch or last is None:
            return False
        if recipe.stop_on_overfitting and last.overfitted:
            return True
        return recipe.patience is not None and standing.epoch - (standing.best_epoch or 0) >= recipe.patience

    def advance(self) -> None:
        """Train upon the next batch."""
        standing, size = self._standing, self._recipe.batch_size
        if standing.batch == 0:
            self._order = torch.randperm(len(self._points.y), generator=self._generator)
        if standing.batch < self._batches:
            rows = self._order[standing.batch * size :][:size]
            x, y = self._points.x[rows], self._points.y[rows]
            if self._recipe.augmentation == "crop-flip":
                x = shifted(x, MARGIN, True, self._generator)
            x, y = x.to(self.device), y.to(self.device)
            for replay in range(self._objective.replays):
                self._update(x, y, replay)
            standing.batch += 1

    def _update(self, x: Tensor, y: Tensor, replay: int) -> None:
        standing, replays = self._standing, self._objective.replays
        rate = learning_rate(
            (standing.epoch + (standing.batch + replay / replays) / self._batches) / self._epochs, self._recipe
        )
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        loss = self._objective.loss(self._model, x, y)
        self._optimizer.zero_grad()
        torch.autograd.backward(loss.value)
        self._optimizer.step()
        standing.loss += float(loss.value.detach()) * len(y)
        standing.correct += int((loss.logits.argmax(1) == y).sum())
        if not math.isfinite(standing.loss):
            raise _diverged(standing.epoch + 1, self._recipe)

    def finish_epoch(self) -> TrainingProgress | None:
        """After the last batch of an epoch, measure; return what is to be told, None within the epoch."""
        standing = self._standing
        if standing.batch < self._batches:
            return None
        seen = len(self._points.y) * self._objective.replays
        measured = measure(self._model, self._held_out, self._budget) if len(self._held_out.y) else None
        told = TrainingProgress(
            standing.epoch + 1, self._epochs, standing.loss / seen, standing.correct / seen, measured
        )
        self._standing = Standing(epoch=told.epoch, history=(*standing.history, told), best_epoch=standing.best_epoch)
        if self._recipe.early_stopping or self._recipe.stop_on_overfitting:
            self._keep_best(measured)
        return told

    def _keep_best(self, measured: Measurement | None) -> None:
        best = self._standing.best_epoch
        before = self._standing.history[best - 1].measured if best is not None else None
        if before is None or (measured is not None and _merit(measured) > _merit(before)):
            self._standing.best_epoch = self._standing.epoch
            self._best = {name: tensor.clone() for name, tensor in self._model.state_dict().items()}

    def result(self) -> Trained:
        """Return the weights that the recipe wants."""
        standing, recipe = self._standing, self._recipe
        last = standing.history[-1].measured
        stopped = recipe.stop_on_overfitting and last is not None and last.overfitted
        if standing.best_epoch is not None and (recipe.early_stopping or stopped):
            return Trained(self._best, standing.best_epoch, standing.history)
        return Trained(dict(self._model.state_dict()), standing.epoch, standing.history)

    def snapshot(self) -> Snapshot:
        """Return all that is needed to go on from here."""
        momenta = {
            name: self._optimizer.state[parameter]["momentum_buffer"]
            for name, parameter in self._model.named_parameters()
            if self._optimizer.state[parameter]
        }
        parts: dict[str, Mapping[str, Tensor]] = {
            "model": self._model.state_dict(),
            "momentum": momenta,
            "objective": self._objective.carried,
            "best": self._best,
            "random": {"generator": self._generator.get_state(), "order": self._order},
        }
        tensors = {f"{part}.{name}": tensor for part, named in parts.items() for name, tensor in named.items()}
        return Snapshot(self.settings, self._standing, tensors)

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot of the same settings."""
        parts: dict[str, dict[str, Tensor]] = {
            part: {} for part in ("model", "momentum", "objective", "best", "random")
        }
        for name, tensor in snapshot.tensors.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = tensor.to(self.device) if part != "random" else tensor
        self._model.load_state_dict(parts["model"])
        for name, parameter in self._model.named_parameters():
            if name in parts["momentum"]:
                self._optimizer.state[parameter]["momentum_buffer"] = parts["momentum"][name]
        self._objective.carried = parts["objective"]
        self._best = parts["best"]
        self._generator.set_state(parts["random"]["generator"])
        self._order = parts["random"]["order"]
        self._standing = snapshot.standing


def _merit(measured: Measurement) -> tuple[float, float]:
    """Robust accuracy first; where it is equal, or nothing is defended against, standard accuracy.

    Source:
        Rice et al. 2020, arXiv:2002.11569, section 3.3.
    """
    return measured.robust_accuracy or 0.0, measured.standard_accuracy


def _split(points: LabelledPoints, held_out: int) -> tuple[LabelledPoints, LabelledPoints]:
    """Return the images to train upon and those held out."""
    if held_out >= len(points.y):
        raise InvalidInput.because(
            "validation", found=held_out, expected=f"fewer than the {len(points.y)} images of the training split",
            remedy="hold out fewer",
        )  # fmt: skip
    if held_out == 0:
        return points, LabelledPoints(points.x[:0], points.y[:0], ())
    order = torch.randperm(len(points.y), generator=torch.Generator().manual_seed(_SPLIT_SEED))
    parts = [order[held_out:].sort().values, order[:held_out].sort().values]
    first, second = (LabelledPoints(points.x[rows], points.y[rows], tuple(rows.tolist())) for rows in parts)
    return first, second


def _digest(points: LabelledPoints) -> str:
    digest = hashlib.sha256()
    for tensor in (points.x, points.y):
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _diverged(epoch: int, recipe: Recipe) -> TrainingFailed:
    return TrainingFailed(
        "The training has diverged.",
        ErrorDetail(
            "loss",
            f"no number in epoch {epoch}",
            "a number",
            f"train with a lower learning rate than {recipe.learning_rate:g}",
        ),
    )


def learning_rate(done: float, recipe: Recipe) -> float:
    """Return the rate after a part of the training.

    Source:
        Cyclic: Wong et al. 2020, arXiv:2001.03994, section 5; Andriushchenko & Flammarion 2020 peak at 0.3 of the run
        too. Piecewise: Rice et al. 2020, arXiv:2002.11569, section 3, at the same parts of their 200 epochs.
    """
    highest = recipe.learning_rate
    if recipe.schedule == "piecewise":
        return highest * (0.1 if done >= 0.5 else 1.0) * (0.1 if done >= 0.75 else 1.0)
    return highest * min(done / _WARM_UP, (1 - done) / (1 - _WARM_UP))


@contextmanager
def _repeatable(device: torch.device) -> Iterator[None]:
    """Compute on one thread with deterministic kernels, and restore the caller's settings.

    On a GPU some layers have no such kernel; there they warn, and the training is repeatable but for their rounding.
    """
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS asks for, before its first product
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True, warn_only=device.type == "cuda")
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
