"""Train small networks by several recipes and epsilons, and see which overfit catastrophically; the result is a page.

    python -m bench.overfitting
    python -m bench.overfitting --page

The first trains and measures, and writes docs/benchmarks/overfitting.json, .md and .svg; the second writes the page and
the figure again from what was measured.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from bench.overfitting_page import (
    EPSILONS,
    FIGURE,
    LARGE,
    NUMBERS,
    PAGE,
    PROTOCOL,
    RECIPES,
    SEEDS,
    Epoch,
    Found,
    Outcome,
    Setting,
    draw,
    page,
    read,
)
from benchmark import ThreatModel, evaluate
from benchmark.datasets import LabelledPoints, load
from model_zoo.architectures.digits_resnet import DigitsResNet
from model_zoo.recipe import Recipe
from model_zoo.recipes import Trained, train_network
from model_zoo.recipes.making import Wanted, recipe_for
from model_zoo.recipes.monitoring import measure

SETTING = Setting()
PROCESSES = 2
"""With one thread each."""


@dataclass(frozen=True)
class Cell:
    """One training."""

    recipe: str
    epsilon: str
    seed: int


def cells() -> Iterator[Cell]:
    """Every training, seed after seed."""
    for seed in SEEDS:
        for name in RECIPES:
            for epsilon in EPSILONS:
                yield Cell(name, epsilon, seed)


def enlarged(split: str, setting: Setting = SETTING) -> LabelledPoints:
    """Return the digits with more pixels, for at 8×8 an epsilon at which FGSM overfits leaves nothing to learn."""
    points = load("digits", split)
    x = F.interpolate(points.x, size=(setting.size, setting.size), mode="bilinear", align_corners=False)
    return LabelledPoints(x, points.y, points.index)


def network(seed: int, setting: Setting = SETTING) -> nn.Module:
    """Return the digits' residual network with a first layer that takes images of twice the size."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = DigitsResNet(10, setting.width)
        model.stem = nn.Conv2d(1, setting.width, 3, stride=2, padding=1, bias=False)
    return model


def recipe_of(cell: Cell, images: int, setting: Setting = SETTING) -> Recipe:
    """Return the whole recipe of a training."""
    return recipe_for(
        Wanted(
            cell.recipe,
            "digits",
            norm="Linf",
            epsilon=cell.epsilon,
            penalty=setting.penalty if cell.recipe == "grad-align" else None,
            epochs=setting.epochs,
            batch_size=setting.batch_size,
            learning_rate=setting.learning_rate,
            validation=setting.validation,
            seed=cell.seed,
        ),
        images,
    )


def trained(cell: Cell, setting: Setting = SETTING) -> tuple[nn.Module, Trained]:
    """Train a network; the same cell gives the same network."""
    points, model = enlarged("train", setting), network(cell.seed, setting)
    result = train_network(model, points, recipe_of(cell, len(points.y), setting))
    model.load_state_dict(result.state)
    return model.eval(), result


def judged(cell: Cell, model: nn.Module, points: LabelledPoints, result: Trained, seconds: float) -> Outcome:
    """Measure a trained network on the test split."""
    threat_model = ThreatModel("Linf", cell.epsilon)
    quick = measure(model, points, threat_model)
    report = evaluate(model, points.x, points.y, threat_model, protocol=PROTOCOL, diagnostics=False).report
    epochs = (
        Epoch(told.epoch, told.measured.one_step_accuracy, told.measured.robust_accuracy, told.measured.alignment)
        for told in result.history
        if told.measured is not None
    )
    return Outcome(
        recipe=cell.recipe,
        epsilon=cell.epsilon,
        seed=cell.seed,
        standard_accuracy=quick.standard_accuracy,
        one_step_accuracy=quick.one_step_accuracy or 0.0,
        robust_accuracy=report.robust_accuracy,
        overfitted_in=result.overfitted_in,
        seconds=seconds,
        epochs=tuple(epochs) if cell.seed == SEEDS[0] and cell.epsilon == LARGE else (),
    )


def run(cell: Cell) -> Outcome:
    """Train and measure, in a process of its own."""
    torch.set_num_threads(1)
    began = time.perf_counter()
    model, result = trained(cell)
    return judged(cell, model, enlarged("test"), result, time.perf_counter() - began)


def sweep() -> Iterator[Found]:
    """Train and measure everything; after each training, return what is there by then."""
    began = time.perf_counter()
    points = len(enlarged("test").y)
    outcomes: list[Outcome] = []
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        for future in as_completed([pool.submit(run, cell) for cell in cells()]):
            outcomes.append(future.result())
            outcomes.sort(key=lambda one: (RECIPES.index(one.recipe), EPSILONS.index(one.epsilon), one.seed))
            print(told(future.result()), file=sys.stderr, flush=True)
            yield Found(
                setting=SETTING,
                points=points,
                processor=processor(),
                python=platform.python_version(),
                torch=torch.__version__,
                minutes=(time.perf_counter() - began) / 60,
                outcomes=tuple(outcomes),
            )


def told(found: Outcome) -> str:
    """Return a line about a training."""
    accuracies = f"{found.one_step_accuracy:.1%} under a step, {found.robust_accuracy:.1%} under the attack"
    overfitted = "" if found.overfitted_in is None else f", overfitted in epoch {found.overfitted_in}"
    return f"{found.recipe} {found.epsilon} seed {found.seed}: {accuracies}{overfitted}, {found.seconds:.0f} s"


def processor() -> str:
    """Return what the processor calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(": ")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", action="store_true", help="train nothing; write page and figure from the numbers")
    if not parser.parse_args(arguments).page:
        for found in sweep():
            NUMBERS.write_text(json.dumps(asdict(found), indent=1) + "\n", encoding="utf-8")
    found = read()
    PAGE.write_text(page(found), encoding="utf-8")
    draw(found, FIGURE)


if __name__ == "__main__":
    main()
