"""The loop: repeatable, interruptible, watched, and stopped where it should be."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from benchmark.datasets import LabelledPoints, load
from benchmark.errors import Conflict, GauntletError, InvalidCheckpoint, InvalidInput, NotFound
from benchmark.threat_models import ThreatModel
from model_zoo import build
from model_zoo.card_files import read_card, write_card
from model_zoo.recipe import Recipe
from model_zoo.recipes import (
    Snapshots,
    Trained,
    TrainingFailed,
    TrainingInterrupted,
    TrainingProgress,
    making,
    train_network,
)
from model_zoo.recipes.carding import card_for, completed
from model_zoo.recipes.loop import learning_rate
from model_zoo.recipes.monitoring import Measurement, measure
from model_zoo.recipes.snapshots import read_snapshot
from tests.house.layout import ROOT
from tests.model_zoo.trainings import until

RECIPES = ("standard", "fgsm", "fgsm-rs", "pgd-2", "pgd-3", "free-2", "grad-align", "trades")


def few(n: int = 90) -> LabelledPoints:
    return load("digits", "train", n)


def recipe(name: str = "fgsm", **changes: object) -> Recipe:
    budget = {} if name == "standard" else {"norm": "Linf", "epsilon": "1/5"}
    wanted = {"penalty": 0.2} if name == "grad-align" else {"penalty": 6.0, "steps": 3} if name == "trades" else {}
    shared = {"epochs": 4, "batch_size": 32, "learning_rate": 0.1, "weight_decay": 5e-4, "validation": 20, "seed": 0}
    return Recipe.model_validate({"name": name, **budget, **wanted, **shared, **changes})


def trained(wanted: Recipe, seed: int = 0, points: LabelledPoints | None = None, **options: object) -> Trained:
    model = build("digits_resnet", "digits", seed)
    return train_network(model, points or few(), wanted, **options)  # type: ignore[arg-type]


def equal(one: Trained, other: Trained) -> bool:
    """Bit by bit, and number by number."""
    same = all(torch.equal(one.state[name], other.state[name]) for name in one.state)
    return same and one.state.keys() == other.state.keys() and (one.epoch, one.history) == (other.epoch, other.history)


@pytest.mark.parametrize("name", RECIPES)
def test_an_interrupted_training_goes_on_as_if_it_had_not_been(name: str, tmp_path: Path) -> None:
    """In the middle of an epoch and at its end, twice, and into a network that had other weights."""
    wanted = recipe(name, early_stopping=True, augmentation="crop-flip" if name == "fgsm" else "none")
    snapshots, resuming = (Snapshots(tmp_path / "x.snapshot", resume=resume) for resume in (False, True))
    told: list[TrainingProgress] = []
    whole = trained(wanted, progress=told.append)
    with pytest.raises(TrainingInterrupted):
        trained(wanted, proceed=until(4), snapshots=snapshots)
    with pytest.raises(TrainingInterrupted):
        trained(wanted, 7, proceed=until(2), snapshots=resuming)
    torch.manual_seed(99)
    resumed = trained(wanted, 8, snapshots=resuming)
    assert equal(whole, resumed)
    assert tuple(told) == whole.history
    other = trained(wanted.model_copy(update={"seed": 1}), 1)
    assert not equal(whole, other)


def test_a_snapshot_is_written_now_and_then_and_holds_no_code(tmp_path: Path) -> None:
    path = tmp_path / "x.snapshot"
    trained(recipe("free-2"), snapshots=Snapshots(path, interval_s=0.0))
    tensors = load_file(path)
    assert {name.partition(".")[0] for name in tensors} == {"model", "momentum", "objective", "random"}
    assert list(tmp_path.iterdir()) == [path]
    path.unlink()
    trained(recipe("free-2"), snapshots=Snapshots(path, interval_s=3600.0))
    assert not path.exists()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"epsilon": "1/10"}, "recipe.epsilon"),
        ({"seed": 3}, "recipe.seed"),
        ({"epochs": 5}, "recipe.epochs"),
        ({"penalty": 0.3}, "recipe.penalty"),
    ],
)
def test_a_snapshot_of_other_settings_is_refused_by_the_field(
    change: dict[str, object], field: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.snapshot"
    with pytest.raises(TrainingInterrupted):
        trained(recipe("grad-align"), proceed=until(1), snapshots=Snapshots(path))
    with pytest.raises(Conflict) as caught:
        trained(recipe("grad-align", **change), snapshots=Snapshots(path, resume=True))
    assert caught.value.detail is not None
    assert caught.value.detail.field == field
    assert caught.value.detail.expected == str(next(iter(change.values())))


def test_a_snapshot_of_other_images_or_another_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.snapshot"
    with pytest.raises(TrainingInterrupted):
        trained(recipe(), proceed=until(1), snapshots=Snapshots(path, {"architecture": "digits_resnet"}))
    resuming = Snapshots(path, {"architecture": "digits_resnet"}, resume=True)
    with pytest.raises(Conflict, match="images"):
        trained(recipe(), points=few(91), snapshots=resuming)
    with pytest.raises(Conflict, match="network"):
        train_network(build("digits_cnn", "digits"), few(), recipe(), snapshots=resuming)
    with pytest.raises(Conflict, match="architecture"):
        trained(recipe(), snapshots=Snapshots(path, {"architecture": "another"}, resume=True))


@pytest.mark.parametrize("trouble", ["missing", "cut off", "empty", "of something else", "without its figures"])
def test_what_is_no_snapshot_is_told(trouble: str, tmp_path: Path) -> None:
    path = tmp_path / "x.snapshot"
    if trouble != "missing":
        trained(recipe(epochs=1), snapshots=Snapshots(path, interval_s=0.0))
        content = path.read_bytes()
        path.write_bytes(content[:-1] if trouble == "cut off" else b"")
        if trouble == "of something else":
            save_file({"x": torch.zeros(2)}, path)
        if trouble == "without its figures":
            path.write_bytes(content.replace(b'\\"epoch\\"', b'\\"epohc\\"'))
            assert path.read_bytes() != content
    with pytest.raises((NotFound, InvalidCheckpoint)) as caught:
        trained(recipe(epochs=1), snapshots=Snapshots(path, resume=True))
    assert isinstance(caught.value, GauntletError)
    assert caught.value.detail is not None
    assert caught.value.detail.field == "snapshot"


WRITING = """
import sys, torch
from pathlib import Path
from model_zoo.recipes.snapshots import Snapshot, Standing
path = Path(sys.argv[1])
for number in range(1_000_000):
    Snapshot({"number": "all"}, Standing(epoch=number), {"x": torch.full((4_000_000,), float(number))}).write(path)
    print(number, flush=True)
"""


def test_whoever_is_killed_while_writing_leaves_the_previous_snapshot_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.snapshot"
    unfinished = path.with_name("x.snapshot.part")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", WRITING, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout is not None
        child.stdout.readline()
        while not unfinished.exists():
            pass
        child.send_signal(signal.SIGKILL)
    snapshot = read_snapshot(path, {"number": "all"})
    assert bool((snapshot.tensors["x"] == snapshot.standing.epoch).all())


class Recording(nn.Module):
    """Remembers every image that it was trained upon."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = build("digits_cnn", "digits")
        self.seen: set[bytes] = set()

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.seen |= {image.numpy().tobytes() for image in x.detach()}
        logits: Tensor = self.inner(x)
        return logits


def test_held_out_images_are_never_trained_upon_and_the_same_for_every_seed() -> None:
    seen = []
    for seed in (0, 1):
        model = Recording()
        train_network(model, few(), recipe("standard", seed=seed))
        seen.append(model.seen)
    assert seen[0] == seen[1]
    assert len(seen[0]) == 70
    everything = Recording()
    train_network(everything, few(), recipe("standard", validation=0))
    assert len(everything.seen) == 90


def test_more_images_than_there_are_cannot_be_held_out() -> None:
    with pytest.raises(InvalidInput, match="validation"):
        trained(recipe(validation=90))


def test_free_replays_instead_of_passing_again() -> None:
    counted = Recording()
    calls: list[float] = []

    def proceed(done: float) -> bool:
        calls.append(done)
        return True

    found = train_network(counted, few(), recipe("free-2", epochs=5), proceed=proceed)
    assert [progress.epochs for progress in found.history] == [3, 3, 3]
    assert len(calls) == 3 * 3
    assert calls[-1] == 1.0


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [("cyclic", [0.0, 0.5, 1.0, 5 / 7, 5 / 14, 0.0]), ("piecewise", [1.0, 1.0, 1.0, 0.1, 0.01, 0.01])],
)
def test_the_learning_rate_follows_its_schedule(schedule: str, rates: list[float]) -> None:
    wanted = recipe(schedule=schedule, learning_rate=0.4)
    found = [learning_rate(done, wanted) for done in (0.0, 0.15, 0.3, 0.5, 0.75, 1.0)]
    assert found == pytest.approx([0.4 * rate for rate in rates])


def test_a_training_that_diverges_is_told_and_gives_no_weights() -> None:
    with pytest.raises(TrainingFailed) as caught:
        trained(recipe(learning_rate=1e8, epochs=20))
    assert caught.value.detail is not None
    assert "lower learning rate" in caught.value.detail.remedy


class Dome(nn.Module):
    """Resists a single step of length epsilon, which lands beyond the dome; steps of a quarter stop on top of it."""

    def __init__(self, epsilon: float) -> None:
        super().__init__()
        self.height = nn.Parameter(torch.tensor(10.0))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        moved = (x.flatten(1).mean(1) - 0.5) / self.epsilon
        wrong = self.height * torch.sin(math.pi * moved) - 5
        return torch.stack((torch.zeros_like(wrong), wrong), 1)


class Slope(Dome):
    """Falls to any step that is long enough: the longer, the worse."""

    def forward(self, x: Tensor) -> Tensor:
        moved = (x.flatten(1).mean(1) - 0.5) / self.epsilon
        wrong = self.height * moved - 5
        return torch.stack((torch.zeros_like(wrong), wrong), 1)


def test_the_detector_tells_a_network_that_only_resists_a_single_step() -> None:
    points = LabelledPoints(torch.full((30, 1, 4, 4), 0.5), torch.zeros(30, dtype=torch.int64), tuple(range(30)))
    budget = ThreatModel("Linf", "1/5")
    dome, slope = (measure(model, points, budget) for model in (Dome(0.2), Slope(0.2)))
    assert (dome.standard_accuracy, dome.one_step_accuracy, dome.robust_accuracy) == (1.0, 1.0, 0.0)
    assert dome.overfitted
    assert (slope.standard_accuracy, slope.one_step_accuracy, slope.robust_accuracy) == (1.0, 0.0, 0.0)
    assert not slope.overfitted
    assert measure(Dome(0.2), points, None) == Measurement(1.0)


@pytest.mark.parametrize(
    ("one_step", "robust", "overfitted"),
    [(0.9, 0.0, True), (0.9, 0.09, True), (0.9, 0.1, False), (0.3, 0.0, True), (0.29, 0.0, False), (0.6, 0.6, False)],
)
def test_the_detector_compares_one_step_with_several(one_step: float, robust: float, overfitted: bool) -> None:
    assert Measurement(0.9, one_step, robust, 0.5).overfitted == overfitted


def held_out(points: LabelledPoints, n: int) -> LabelledPoints:
    """Return the images that nobody trains upon."""
    model = Recording()
    train_network(model, points, recipe("standard", epochs=1, validation=n))
    rows = [row for row, image in enumerate(points.x) if image.numpy().tobytes() not in model.seen]
    return LabelledPoints(points.x[rows], points.y[rows], tuple(rows))


def overfitting(**changes: object) -> Recipe:
    """A recipe that overfits catastrophically on all digits within seconds."""
    return recipe("fgsm", epsilon="2/5", epochs=20, batch_size=64, validation=137, **changes)


@pytest.mark.slow
def test_early_stopping_keeps_the_best_epoch_and_the_detector_the_first_bad_one() -> None:
    points = load("digits", "train")
    last, best = (trained(overfitting(early_stopping=early), points=points) for early in (False, True))
    assert last.history == best.history
    assert last.epoch == 20
    merits = [
        (progress.measured.robust_accuracy, progress.measured.standard_accuracy)
        for progress in best.history
        if progress.measured is not None and progress.measured.robust_accuracy is not None
    ]
    assert best.epoch == 1 + merits.index(max(merits)) < 20
    assert last.overfitted_in is not None
    stopped = trained(overfitting(stop_on_overfitting=True), points=points)
    assert len(stopped.history) == last.overfitted_in == stopped.overfitted_in
    assert stopped.epoch < last.overfitted_in
    patient = trained(overfitting(early_stopping=True, patience=2), points=points)
    assert len(patient.history) == patient.epoch + 2
    model = build("digits_resnet", "digits")
    model.load_state_dict(best.state)
    assert measure(model, held_out(points, 137), ThreatModel("Linf", "2/5")) == best.measured


@pytest.mark.parametrize(
    ("dataset", "norm", "epsilon", "penalty"),
    [
        ("cifar10", "Linf", "8/255", 0.2),
        ("cifar10", "Linf", "12/255", 0.6325),
        ("cifar10", "Linf", "16/255", 2.0),
        ("cifar10", "Linf", "4/255", 0.06325),
        ("digits", "Linf", "0.2", 0.2),
        ("digits", "L2", "1.6", 2.0),
    ],
)
def test_the_weight_of_the_alignment_grows_with_the_budget(
    dataset: str, norm: str, epsilon: str, penalty: float
) -> None:
    assert making.alignment_penalty(dataset, norm, epsilon) == pytest.approx(penalty)


def test_without_a_board_the_weight_has_to_be_named() -> None:
    with pytest.raises(InvalidInput, match="penalty"):
        making.recipe_for(making.Wanted("grad-align", "mnist", epsilon="0.3"), 100)
    assert making.recipe_for(making.Wanted("grad-align", "mnist", epsilon="0.3", penalty=1.0), 100).penalty == 1.0


def test_a_recipe_has_every_customary_value_written_out() -> None:
    found = making.recipe_for(making.Wanted("trades", "digits", epsilon="0.3"), 1097)
    assert (found.norm, found.epsilon, found.steps, found.penalty) == ("Linf", "3/10", 10, 6.0)
    assert (found.batch_size, found.learning_rate, found.validation) == (64, 0.1, 137)
    assert making.recipe_for(making.Wanted("standard", "cifar10"), 50_000).validation == 1000
    assert making.recipe_for(making.Wanted("standard", "digits"), 1097).norm is None


def test_a_card_survives_its_file(tmp_path: Path) -> None:
    wanted = making.recipe_for(making.Wanted("fgsm", "digits", epsilon="1/5", epochs=1), 1097)
    entry = card_for(
        wanted, model_id="x", dataset="digits", architecture="digits_cnn", licence='odd "words" \\ \n\t\x7f\x01 é 😀'
    )
    entry = completed(entry, trained(wanted, points=load("digits", "train")), "ab" * 32)
    assert entry.measured is not None
    assert entry.measured.validation_points == 137
    write_card(entry, tmp_path / "x.toml")
    assert read_card(tmp_path / "x.toml") == entry
    assert list(tmp_path.iterdir()) == [tmp_path / "x.toml"]


@pytest.mark.parametrize("content", [b"", b"id = ", b"\xff", b'id = "x"\n', b"#" * 70_000])
def test_what_is_no_card_is_told(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(content)
    with pytest.raises(InvalidInput):
        read_card(tmp_path / "x.toml")
