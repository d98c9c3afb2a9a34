"""From the name of a recipe and the few things that somebody wants of it to a whole recipe."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from pydantic import ValidationError

from benchmark.errors import InvalidInput, NotFound
from benchmark.threat_models import BOARDS, ThreatModel
from model_zoo.recipe import RECIPE_PATTERN, Recipe, unusable
from model_zoo.registry import ARCHITECTURES, list_models

NAMES = ("standard", "fgsm", "fgsm-rs", "pgd-10", "free-8", "grad-align", "trades")
"""Recipes as people meet them first; other numbers of steps and replays have names of the same form."""

TRADES_STEPS, TRADES_PENALTY = 10, 6.0
"""Zhang et al. 2019, arXiv:1901.08573, section 5.3: K = 10, 1/λ = 6 for CIFAR-10."""
_ALIGNED, _ALIGNED_TWICE = 0.2, 2.0
"""λ of grad-align at a data set's customary budget and at twice that: Andriushchenko & Flammarion 2020, appendix A, for
8/255 and 16/255 on CIFAR-10."""
_MOST_HELD_OUT, _PART_HELD_OUT = 1000, 8
"""Rice et al. 2020, arXiv:2002.11569, section 3.3, hold 1,000 images of CIFAR-10 out."""


@dataclass(frozen=True)
class Setting:
    """What is customary for a data set.

    Args:
        batch_size: images of a batch.
        learning_rate: the highest.
        architecture: the network; None for the first that takes the data set's images.
    """

    batch_size: int
    learning_rate: float
    architecture: str | None = None


_REFERENCE = Setting(128, 0.3)
"""Andriushchenko & Flammarion 2020, for a pre-activation ResNet-18 on CIFAR-10."""
_SETTINGS: Mapping[str, Setting] = {
    "digits": Setting(64, 0.1, "digits_resnet"),
    "mnist": Setting(128, 0.05),
    "fashion-mnist": Setting(128, 0.05),
}


@dataclass(frozen=True)
class Wanted:
    """What somebody wants of a training; None stands for what is customary.

    Args:
        name: of the recipe.
        dataset: whose images are trained upon.
        norm: of the perturbation.
        epsilon: its budget, as text such as "8/255" or "0.3".
        steps: as in `Recipe`, and so on.
    """

    name: str
    dataset: str
    norm: Literal["Linf", "L2"] | None = None
    epsilon: str | None = None
    steps: int | None = None
    step_size: float | None = None
    penalty: float | None = None
    epochs: int = 30
    batch_size: int | None = None
    learning_rate: float | None = None
    schedule: Literal["cyclic", "piecewise"] = "cyclic"
    weight_decay: float = 5e-4
    augmentation: Literal["none", "crop-flip"] = "none"
    validation: int | None = None
    early_stopping: bool = False
    patience: int | None = None
    stop_on_overfitting: bool = False
    seed: int = 0


def recipe_for(wanted: Wanted, images: int) -> Recipe:
    """Return the whole recipe, every customary value written out.

    Args:
        wanted: what is wanted.
        images: how many the training split has.
    Raises:
        NotFound: there is no such recipe.
        InvalidInput: what is wanted contradicts itself, or has no customary value.
    """
    _check_name(wanted.name)
    norm = wanted.norm or (None if wanted.name == "standard" else "Linf")
    epsilon = None if wanted.epsilon is None else str(ThreatModel(norm or "Linf", wanted.epsilon).epsilon)
    setting = _SETTINGS.get(wanted.dataset, _REFERENCE)
    trades = wanted.name == "trades"
    penalty = wanted.penalty
    if penalty is None and trades:
        penalty = TRADES_PENALTY
    if penalty is None and wanted.name == "grad-align" and norm is not None and epsilon is not None:
        penalty = alignment_penalty(wanted.dataset, norm, epsilon)
    held_out = min(_MOST_HELD_OUT, images // _PART_HELD_OUT) if wanted.validation is None else wanted.validation
    try:
        return Recipe(
            name=wanted.name,
            norm=norm,
            epsilon=epsilon,
            steps=TRADES_STEPS if trades and wanted.steps is None else wanted.steps,
            step_size=wanted.step_size,
            penalty=penalty,
            epochs=wanted.epochs,
            batch_size=wanted.batch_size or setting.batch_size,
            learning_rate=setting.learning_rate if wanted.learning_rate is None else wanted.learning_rate,
            schedule=wanted.schedule,
            weight_decay=wanted.weight_decay,
            augmentation=wanted.augmentation,
            validation=held_out,
            early_stopping=wanted.early_stopping,
            patience=wanted.patience,
            stop_on_overfitting=wanted.stop_on_overfitting,
            seed=wanted.seed,
        )
    except ValidationError as error:
        raise unusable(error) from error


def customary_architecture(dataset: str) -> str:
    """Return the architecture that a data set's images are trained upon where none is named.

    Raises:
        NotFound: no registered architecture takes them.
    """
    fitting = [entry.name for entry in ARCHITECTURES.values() if dataset in entry.datasets]
    named = _SETTINGS.get(dataset, _REFERENCE).architecture
    if named is None and not fitting:
        raise NotFound.because(
            "architecture", found=f"none for {dataset}", expected="one that takes the data set's images",
            remedy="train a network of your own with model_zoo.recipes.train_network",
        )  # fmt: skip
    return named or fitting[0]


def alignment_penalty(dataset: str, norm: str, epsilon: str) -> float:
    """Return the customary λ of grad-align: 0.2 at the budget of the data set's board, ten times that at twice.

    For CIFAR-10 in Linf this is the authors' rule. Budgets of different data sets mean different things in pixels; what
    they have in common is the ratio to the board's, which was chosen so that defences can be told apart.

    Raises:
        InvalidInput: the data set has no board in that norm.
    """
    customary = [board.epsilon for board in BOARDS if (board.dataset, board.threat_model) == (dataset, norm)]
    if not customary or customary[0] is None:
        raise InvalidInput.because(
            "penalty", found="nothing", expected=f"λ, for {dataset} has no board in {norm} to tell a customary budget",
            remedy="name it; 0.2 is a beginning, and more where catastrophic overfitting is seen",
        )  # fmt: skip
    times = float(ThreatModel(norm, epsilon).epsilon / customary[0])
    return float(f"{_ALIGNED * (_ALIGNED_TWICE / _ALIGNED) ** (times - 1):.4g}")


def _check_name(name: str) -> None:
    if re.fullmatch(RECIPE_PATTERN, name):
        return
    nearest = get_close_matches(name, NAMES, n=1)
    remedy = f"did you mean {nearest[0]}?" if nearest else "choose one of these"
    if name.casefold() in {model_id.casefold() for model_id in list_models()}:
        remedy = f"`gauntlet zoo retrain {name}` trains a model of the zoo again"
    raise NotFound.because("recipe", found=name, expected=f"one of {', '.join(NAMES)}", remedy=remedy)
