"""``gauntlet zoo train`` and ``gauntlet zoo retrain``: networks trained on this machine."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from benchmark.errors import Conflict, InvalidInput
from gauntlet.cli.console import AsJson, DataDir, Device, percent, print_json, print_table, progress_bar, table_of
from gauntlet.cli.models import bundled_card

if TYPE_CHECKING:
    from types import FrameType

    import torch

    from benchmark.datasets import LabelledPoints
    from model_zoo.recipes import Trained, TrainingProgress
    from model_zoo.registry import Card

Output = Annotated[Path, typer.Option(help="Where to write the checkpoint; its card goes beside it.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the snapshot of an interrupted training.")]
CUSTOMARY = "customary"


def train_model(
    recipe: Annotated[
        str,
        typer.Argument(metavar="RECIPE", help="standard, fgsm, fgsm-rs, pgd-K, free-M, grad-align or trades."),
    ],
    output: Output,
    dataset: Annotated[str, typer.Option(help="Whose training split to train upon.")] = "digits",
    epsilon: Annotated[
        str | None, typer.Option(help='Budget of the perturbation, such as "8/255" or 0.3.', show_default="none")
    ] = None,
    norm: Annotated[Literal["Linf", "L2"] | None, typer.Option(help="Its norm.", show_default="Linf")] = None,
    architecture: Annotated[str | None, typer.Option(help="Registered architecture.", show_default=CUSTOMARY)] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the images, replays included.")] = 30,
    batch_size: Annotated[int | None, typer.Option(min=2, help="Images of a batch.", show_default=CUSTOMARY)] = None,
    learning_rate: Annotated[float | None, typer.Option(help="The highest.", show_default=CUSTOMARY)] = None,
    schedule: Annotated[Literal["cyclic", "piecewise"], typer.Option(help="How the learning rate changes.")] = "cyclic",
    weight_decay: Annotated[float, typer.Option(min=0, help="Weight decay.")] = 5e-4,
    steps: Annotated[int | None, typer.Option(min=1, help="Gradient steps of trades.", show_default="10")] = None,
    step_size: Annotated[
        float | None, typer.Option(help="Length of a step as a part of epsilon.", show_default="the recipe's")
    ] = None,
    penalty: Annotated[
        float | None, typer.Option(min=0, help="λ of grad-align, β of trades.", show_default=CUSTOMARY)
    ] = None,
    augmentation: Annotated[
        Literal["none", "crop-flip"], typer.Option(help="What is done to the images first.")
    ] = "none",
    validation: Annotated[
        int | None,
        typer.Option(min=0, help="Images of the training split to hold out.", show_default="1 of 8, at most 1000"),
    ] = None,
    early_stopping: Annotated[
        bool, typer.Option("--early-stopping", help="Keep the best epoch on the held-out images, not the last.")
    ] = False,
    patience: Annotated[
        int | None, typer.Option(min=1, help="Epochs without a better one to end after.", show_default="never")
    ] = None,
    stop_on_overfitting: Annotated[
        bool, typer.Option("--stop-on-overfitting", help="End at catastrophic overfitting, with the best epoch before.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights, order and noise.")] = 0,
    model_id: Annotated[str | None, typer.Option("--id", help="Id on the card.", show_default="from output")] = None,
    licence: Annotated[str, typer.Option(help="Licence on the card.")] = "not stated",
    resume: Resume = False,
    device: Device = "cpu",
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Train a network by a recipe, and write its checkpoint and its card.

    A part of the training split is held out, and what is measured on it is shown after each epoch; the test split is
    never looked at. Ctrl-C leaves a snapshot beside the output, from which --resume goes on as if nothing had happened.
    """
    _require_places(output)
    from benchmark import datasets
    from benchmark.pipeline import device_named
    from model_zoo import registry
    from model_zoo.card_files import write_card
    from model_zoo.recipes import carding, making, write_checkpoint

    place = device_named(device)
    network = architecture or making.customary_architecture(dataset)
    registry.architecture(network, dataset)
    points = datasets.load(dataset, "train", data_dir=data_dir)
    wanted = making.Wanted(
        recipe,
        dataset,
        norm,
        epsilon,
        steps=steps,
        step_size=step_size,
        penalty=penalty,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        schedule=schedule,
        weight_decay=weight_decay,
        augmentation=augmentation,
        validation=validation,
        early_stopping=early_stopping,
        patience=patience,
        stop_on_overfitting=stop_on_overfitting,
        seed=seed,
    )
    card = carding.card_for(
        making.recipe_for(wanted, len(points.y)),
        model_id=model_id or _id_from(output),
        dataset=dataset,
        architecture=network,
        licence=licence,
    )
    trained = _train(card, points, output, place, resume=resume, silent=as_json)
    card = carding.completed(card, trained, write_checkpoint(trained.state, output))
    write_card(card, _card_path(output))
    _snapshot_path(output).unlink(missing_ok=True)
    _report(card, trained, output, as_json=as_json)


def retrain_model(
    model: Annotated[str, typer.Argument(metavar="ID_OR_CARD", help="Id of a zoo model, or a card's file.")],
    output: Output,
    dataset: Annotated[str, typer.Option(help="Data set of its board.")] = "digits",
    threat_model: Annotated[str | None, typer.Option(help="Threat model of its board.", show_default="any")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="How long.", show_default="the card's")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Another seed.", show_default="the card's")] = None,
    resume: Resume = False,
    device: Device = "cpu",
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Train a model again as its card says, and say whether the checkpoint is the card's, bit by bit."""
    _require_places(output)
    from benchmark import datasets
    from benchmark.pipeline import device_named
    from model_zoo.card_files import read_card
    from model_zoo.recipes import write_checkpoint

    place = device_named(device)
    card = read_card(Path(model)) if Path(model).is_file() else bundled_card(model, dataset, threat_model)
    changes = {"epochs": epochs, "seed": seed}
    recipe = card.recipe.model_copy(update={name: value for name, value in changes.items() if value is not None})
    points = datasets.load(card.dataset, "train", data_dir=data_dir)
    trained = _train(card.model_copy(update={"recipe": recipe}), points, output, place, resume=resume, silent=as_json)
    sha256 = write_checkpoint(trained.state, output)
    _snapshot_path(output).unlink(missing_ok=True)
    if as_json:
        print_json({"path": str(output), "sha256": sha256, "equals_card": sha256 == card.sha256})
    else:
        print(f"{output}: sha256 {sha256}, {'as' if sha256 == card.sha256 else 'not as'} on the card")


def _train(
    card: Card, points: LabelledPoints, output: Path, device: torch.device, *, resume: bool, silent: bool
) -> Trained:
    """Train as a card says, with a bar, and leave a snapshot where it is interrupted."""
    from model_zoo import build
    from model_zoo.recipes import Snapshots, TrainingInterrupted, train_network

    path = _snapshot_path(output)
    if path.exists() and not resume:
        raise Conflict.because(
            "snapshot", found=repr(str(path)), expected="no unfinished training of this output",
            remedy="go on with --resume, or delete it and begin anew",
        )  # fmt: skip
    snapshots = Snapshots(path, {"dataset": card.dataset, "architecture": card.architecture}, resume=resume)
    with _training_bar(silent=silent) as (tell, move), _stop_at_signals() as stop:

        def proceed(done: float) -> bool:
            move(done)
            return not stop.is_set()

        try:
            return train_network(
                build(card.architecture, card.dataset, card.recipe.seed).to(device),
                points,
                card.recipe,
                progress=tell,
                proceed=proceed,
                snapshots=snapshots,
            )
        except TrainingInterrupted:
            print(f"{path}: the training so far; --resume goes on from there", file=sys.stderr)
            raise KeyboardInterrupt from None


@contextmanager
def _training_bar(*, silent: bool) -> Iterator[tuple[Callable[[TrainingProgress], None], Callable[[float], None]]]:
    """Show a bar over the epochs, with what the last one came to and a line where overfitting begins."""
    with progress_bar(silent=silent) as bar:
        task = bar.add_task("Training", total=1.0)
        seen = False

        def tell(progress: TrainingProgress) -> None:
            nonlocal seen
            bar.update(task, description=_progress_text(progress))
            if progress.measured is not None and progress.measured.overfitted and not seen:
                seen = True
                if not bar.disable:
                    bar.console.print(_overfitting_text(progress), style="yellow")

        yield tell, lambda done: bar.update(task, completed=done)


def _progress_text(progress: TrainingProgress) -> str:
    parts = [
        f"Epoch {progress.epoch} of {progress.epochs}",
        f"loss {progress.loss:.3f}",
        f"accuracy {percent(progress.accuracy, 1)}",
    ]
    if progress.measured is not None:
        parts.append(f"held out: standard {percent(progress.measured.standard_accuracy, 1)}")
        if progress.measured.robust_accuracy is not None:
            parts.append(f"robust {percent(progress.measured.robust_accuracy, 1)}")
    return " · ".join(parts)


def _overfitting_text(progress: TrainingProgress) -> str:
    from model_zoo.recipes.monitoring import ITERATIVE, REMEDY

    measured = progress.measured
    if measured is None:
        return ""
    return (
        f"catastrophic_overfitting: in epoch {progress.epoch} accuracy on the held-out images is "
        f"{percent(measured.one_step_accuracy, 1)} under one step and {percent(measured.robust_accuracy, 1)} under "
        f"{ITERATIVE.steps}. Remedy: {REMEDY}."
    )


@contextmanager
def _stop_at_signals() -> Iterator[Event]:
    """Set the event at the first Ctrl-C or SIGTERM; the second does what it always does."""
    stop = Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(_number: int, _frame: FrameType | None) -> None:
        stop.set()
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in before:
        signal.signal(number, note)
    try:
        yield stop
    finally:
        restore()


def _report(card: Card, trained: Trained, output: Path, *, as_json: bool) -> None:
    overfitted = trained.history[trained.overfitted_in - 1] if trained.overfitted_in is not None else None
    if as_json:
        print_json(
            {
                "path": str(output),
                "card_path": str(_card_path(output)),
                "card": card.model_dump(mode="json"),
                "overfitting": None if overfitted is None else _overfitting_text(overfitted),
                "epochs": [asdict(progress) for progress in trained.history],
            }
        )
        return
    measured = card.measured
    rows: list[tuple[str, object]] = [("Checkpoint", output), ("Card", _card_path(output)), ("SHA-256", card.sha256)]
    rows.append(("Weights of epoch", f"{trained.epoch} of {len(trained.history)}"))
    if measured is not None:
        rows += [
            ("Held-out images", measured.validation_points),
            ("Standard accuracy on them", percent(measured.validation_standard_accuracy)),
            ("Accuracy under one step", percent(measured.validation_one_step_accuracy)),
            ("Robust accuracy, at most", percent(measured.validation_robust_accuracy)),
        ]
    print_table(table_of(("Training", card.recipe.name), rows))
    if overfitted is not None:
        print(_overfitting_text(overfitted))


def _require_places(output: Path) -> None:
    taken = output.suffix in {".toml", ".snapshot"}  # the card's and the snapshot's
    if not output.absolute().parent.is_dir() or output.is_dir() or taken:
        raise InvalidInput.because(
            "output", found=repr(str(output)), expected="a file in an existing directory, and no .toml or .snapshot",
            remedy="choose another path",
        )  # fmt: skip


def _card_path(output: Path) -> Path:
    return output.with_suffix(".toml")


def _snapshot_path(output: Path) -> Path:
    return output.with_suffix(".snapshot")


def _id_from(output: Path) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", output.stem)[:80]
