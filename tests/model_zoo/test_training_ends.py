"""Where a training ends and whose weights it keeps, with networks that are spoilt on purpose."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from benchmark.datasets import LabelledPoints, load
from benchmark.threat_models import ThreatModel
from model_zoo.recipes import Trained, TrainingProgress, train_network
from model_zoo.recipes.making import NAMES
from model_zoo.recipes.monitoring import measure
from tests.model_zoo.trainings import bits, network, recipe


@pytest.mark.parametrize("name", [name for name in NAMES if name != "standard"])
def test_every_recipe_comes_to_the_same_bits_again_and_to_others_with_another_seed(name: str) -> None:
    points, entry = load("digits", "train", 80), recipe(name, epochs=8 if name == "free-8" else 1)
    first, second = (train_network(network(), points, entry) for _ in range(2))
    assert bits(first.state) == bits(second.state)
    assert first.history == second.history
    other = train_network(network(), points, entry.model_copy(update={"seed": 1}))
    assert bits(other.state) != bits(first.state)


def merit(progress: TrainingProgress) -> tuple[float, float]:
    assert progress.measured is not None
    return progress.measured.robust_accuracy or 0, progress.measured.standard_accuracy


def train_and_spoil(**changes: object) -> tuple[Trained, list[dict[str, bytes]]]:
    """Train six epochs, setting all weights to zero after the third; return the state after each as well."""
    model, states = network(), []

    def spoil(progress: TrainingProgress) -> None:
        states.append(bits(model.state_dict()))
        if progress.epoch == 3:
            for weight in model.parameters():
                torch.nn.init.zeros_(weight)

    entry = recipe("pgd-2", **{"epochs": 6, "validation": 40, **changes})
    return train_network(model, load("digits", "train", 400), entry, progress=spoil), states


def test_early_stopping_keeps_the_best_epoch_and_without_it_the_last_is_kept() -> None:
    trained, states = train_and_spoil(early_stopping=True)
    best = max(trained.history, key=merit)
    assert len(trained.history) == 6
    assert trained.epoch == best.epoch <= 3
    assert trained.measured == best.measured
    assert bits(trained.state) == states[best.epoch - 1] != states[-1]
    last, states = train_and_spoil()
    assert last.epoch == 6
    assert bits(last.state) == states[-1]


def test_patience_ends_a_training_that_does_not_get_better() -> None:
    trained, states = train_and_spoil(early_stopping=True, patience=2)
    assert len(trained.history) == trained.epoch + 2 < 6
    assert bits(trained.state) == states[trained.epoch - 1]


class Scalloped(nn.Module):
    """Answers that hold at a whole step and fall at half of one, as soon as it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.scalloped = False

    def forward(self, x: Tensor) -> Tensor:
        moved = x.flatten(1).mean(1) - 0.5
        # One wave is as long as the epsilon of 1/5.
        height = torch.cos(2 * math.pi * moved / 0.2 + 0.3) if self.scalloped else 1 - 0.1 * moved
        margin = self.scale * height
        return torch.stack((margin, -margin), 1)


GREY = LabelledPoints(torch.full((24, 1, 8, 8), 0.5), torch.zeros(24, dtype=torch.int64), ())


def test_what_resists_one_step_and_falls_to_several_has_overfitted() -> None:
    model, budget = Scalloped(), ThreatModel("Linf", "1/5")
    assert not measure(model, GREY, budget).overfitted
    model.scalloped = True
    found = measure(model, GREY, budget)
    assert (found.standard_accuracy, found.one_step_accuracy, found.robust_accuracy) == (1, 1, 0)
    assert found.overfitted


@pytest.mark.parametrize("stops", [True, False])
def test_training_ends_at_catastrophic_overfitting_where_that_is_asked_for(stops: bool) -> None:
    model = Scalloped()

    def turn(progress: TrainingProgress) -> None:
        model.scalloped = progress.epoch >= 2

    entry = recipe("fgsm", epsilon="1/5", epochs=5, validation=8, stop_on_overfitting=stops)
    trained = train_network(model, GREY, entry, progress=turn)
    assert trained.overfitted_in == 3
    assert len(trained.history) == (3 if stops else 5)
    assert trained.epoch == (1 if stops else 5)  # the first two are equally good
