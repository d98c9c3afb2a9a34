"""The training loop, the same for every recipe and bit for bit repeatable on one machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.datasets import LabelledPoints, load
from benchmark.threat_models import ThreatModel
from model_zoo.building import build
from model_zoo.recipes.perturbations import SCHEMES, perturb
from model_zoo.registry import Card, Recipe

_MOMENTUM = 0.9
_WARM_UP = 0.3


@dataclass(frozen=True)
class TrainingProgress:
    """Where training stands after an epoch.

    Args:
        epoch: epochs done.
        epochs: epochs in all.
        loss: mean loss of the epoch, on the images trained upon.
        accuracy: share of them classified correctly while training.
    """

    epoch: int
    epochs: int
    loss: float
    accuracy: float


def train(card: Card, progress: Callable[[TrainingProgress], None] | None = None) -> dict[str, Tensor]:
    """Train a model as its card says.

    The seed decides weights, order of the images and noise; one thread and deterministic kernels do the rest, so that
    one machine gives the same bits each time. Another processor may round differently.

    Args:
        card: names data set, architecture and recipe; its sha256 is not looked at.
        progress: called after each epoch.
    Returns:
        The state dict.
    """
    recipe = card.recipe
    points = load(card.dataset, "train")
    model = build(card.architecture, card.dataset, recipe.seed)
    generator = torch.Generator().manual_seed(recipe.seed)
    batches = -(-len(points.y) // recipe.batch_size)
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=recipe.learning_rate,
        momentum=_MOMENTUM,
        nesterov=True,
        weight_decay=recipe.weight_decay,
    )
    with _repeatable():
        for epoch in range(recipe.epochs):
            order = torch.randperm(len(points.y), generator=generator)
            loss, correct = 0.0, 0
            for number, rows in enumerate(order.split(recipe.batch_size)):
                rate = _learning_rate((epoch + number / batches) / recipe.epochs, recipe.learning_rate)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                batch_loss, batch_correct = _update(model, optimizer, points, rows, recipe, generator)
                loss, correct = loss + batch_loss, correct + batch_correct
            if progress is not None:
                size = len(points.y)
                progress(TrainingProgress(epoch + 1, recipe.epochs, loss / size, correct / size))
    return dict(model.state_dict())


def _update(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    points: LabelledPoints,
    rows: Tensor,
    recipe: Recipe,
    generator: torch.Generator,
) -> tuple[float, int]:
    """Take one step of descent; return the summed loss and the number of images classified correctly."""
    x, y = points.x[rows], points.y[rows]
    if recipe.norm is not None and recipe.epsilon is not None:
        # In eval mode, so that BatchNorm's statistics are those of the images trained upon.
        budget = ThreatModel(recipe.norm, recipe.epsilon)
        x = perturb(model.eval(), x, y, budget, SCHEMES[recipe.name], generator)
    logits = model.train()(x)
    loss = F.cross_entropy(logits, y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return float(loss.detach()) * len(y), int((logits.argmax(1) == y).sum())


def _learning_rate(done: float, highest: float) -> float:
    """Rise linearly to the highest rate, then fall linearly to zero.

    Source:
        Wong et al. 2020, arXiv:2001.03994, section 5; Andriushchenko & Flammarion 2020 peak at 0.3 of the run too.
    """
    return highest * min(done / _WARM_UP, (1 - done) / (1 - _WARM_UP))


@contextmanager
def _repeatable() -> Iterator[None]:
    """Compute on one thread with deterministic kernels, and restore the caller's settings."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)
