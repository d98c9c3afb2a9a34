"""The page and the figure that bench.overfitting writes, from the numbers that it keeps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from model_zoo.recipes.monitoring import GREATEST_SHARE, LEAST_ONE_STEP

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROOM = Path(__file__).resolve().parents[1] / "docs/benchmarks"
NUMBERS, PAGE, FIGURE = (_ROOM / f"overfitting.{ending}" for ending in ("json", "md", "svg"))

RECIPES = ("pgd-10", "grad-align", "pgd-2", "fgsm-rs", "fgsm")
EPSILONS = ("0.1", "0.15", "0.2")
SEEDS = (0, 1, 2)
LARGE = "0.15"
"""At which FGSM overfits, while several steps or aligned gradients still defend."""
PROTOCOL = "pgd(steps=50,restarts=10)"

_WEAK = 0.1
"""Robust accuracy below which the page calls a network weak, whatever the watch has said; of ten classes, chance."""

# Markers and dashes tell the lines apart without colour; the colours are Okabe and Ito's, for every kind of eye.
_LINES = {
    "fgsm": ("#d55e00", "o", "-"),
    "fgsm-rs": ("#e69f00", "s", "--"),
    "pgd-2": ("#56b4e9", "^", "-."),
    "pgd-10": ("#0072b2", "D", "-"),
    "grad-align": ("#009e73", "v", "--"),
}


@dataclass(frozen=True)
class Setting:
    """What all trainings have in common."""

    size: int = 16
    width: int = 16
    epochs: int = 80
    batch_size: int = 64
    learning_rate: float = 0.4
    penalty: float = 1.0
    validation: int = 120


@dataclass(frozen=True)
class Epoch:
    """What one epoch of a training came to, on held-out images."""

    epoch: int
    one_step_accuracy: float | None
    robust_accuracy: float | None
    alignment: float | None


@dataclass(frozen=True)
class Outcome:
    """What one training came to, on the test split."""

    recipe: str
    epsilon: str
    seed: int
    standard_accuracy: float
    one_step_accuracy: float
    robust_accuracy: float
    overfitted_in: int | None
    seconds: float
    epochs: tuple[Epoch, ...] = ()


@dataclass(frozen=True)
class Found:
    """All that was measured, and where."""

    setting: Setting
    points: int
    processor: str
    python: str
    torch: str
    minutes: float
    outcomes: tuple[Outcome, ...]

    def of(self, recipe: str, epsilon: str) -> list[Outcome]:
        """Return the outcomes of a recipe and an epsilon, one for each seed."""
        return [one for one in self.outcomes if (one.recipe, one.epsilon) == (recipe, epsilon)]

    @property
    def seeds(self) -> tuple[int, ...]:
        """Those with which every recipe and epsilon was measured; fewer than all where the sweep was interrupted."""
        wanted = len(RECIPES) * len(EPSILONS)
        return tuple(seed for seed in SEEDS if sum(one.seed == seed for one in self.outcomes) == wanted)

    @property
    def example(self) -> Outcome:
        """The training that the figure follows from epoch to epoch."""
        return self.of("fgsm", LARGE)[0]


def read(path: Path = NUMBERS) -> Found:
    """Read what was measured, with whole seeds alone."""
    kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    setting, outcomes = Setting(**kept.pop("setting")), kept.pop("outcomes")
    found = Found(setting=setting, outcomes=tuple(map(_outcome, outcomes)), **kept)
    return replace(found, outcomes=tuple(one for one in found.outcomes if one.seed in found.seeds))


def _outcome(kept: dict[str, Any]) -> Outcome:
    return Outcome(**{**kept, "epochs": tuple(Epoch(**epoch) for epoch in kept["epochs"])})


def page(found: Found) -> str:
    """Return the measurements as Markdown."""
    setting = found.setting
    rows = [_row(found, recipe, epsilon) for recipe in RECIPES for epsilon in EPSILONS]
    return f"""# Catastrophic overfitting: where it comes, and with which recipes it does not

A network that trains on the examples of a single step can learn to resist that step and nothing else
([Wong et al. 2020](https://arxiv.org/abs/2001.03994),
[Andriushchenko & Flammarion 2020](https://arxiv.org/abs/2007.02617)). One command trains the same network by
{len(RECIPES)} recipes, with {len(EPSILONS)} epsilons and {len(SEEDS)} seeds each, and writes this page, its figure and
[the numbers](overfitting.json):

```
make overfitting
```

`python -m bench.overfitting --page` writes page and figure again from the numbers, without training.

![Left: robust accuracy over epsilon by recipe. Right: an FGSM training that overfits, epoch by epoch](overfitting.svg)

## What it says

{_said(found)}

## How it was measured

- **Images**: the digits' training split, enlarged from 8×8 to {setting.size}×{setting.size} pixels between the pixels'
  middles (bilinear); {setting.validation} of its images are held out. At 8×8 pixels an epsilon large enough for FGSM to
  overfit (0.4) leaves next to nothing to learn: PGD-10's network classifies a quarter of the clean images correctly.
- **Network**: `digits_resnet` with {setting.width} channels, whose first layer moves by two pixels.
- **Training**: {setting.epochs} epochs, batches of {setting.batch_size}, a learning rate that rises to
  {setting.learning_rate} and falls again, weight decay 0.0005. GradAlign's λ is {setting.penalty} throughout, not the
  customary one of `gauntlet zoo train`. The weights of the last epoch are measured: no early stopping.
- **The setting was chosen** so that FGSM overfits with every seed: of some twenty widths, lengths and learning rates
  that were tried with FGSM, looking at the test split. With 40 epochs it overfitted from 0.2 on, where
  GradAlign kept little (0.10 to 0.14). GradAlign's λ was tried from 0.2 to 4, without much difference from 1 on. So
  the table shows that this happens and what prevents it, not how often it happens.
- **Accuracies** are of all {found.points} points of the test split, enlarged likewise. The attack is `{PROTOCOL}`:
  PGD of 50 steps from 10 random starts, float32. One step is FGSM.
- **Overfitted** is what the recipes' own watch says: in some epoch {LEAST_ONE_STEP:.0%} or more of the held-out
  images resist one step, and at most {GREATEST_SHARE:.0%} of that share resists ten.
- **Machine**: {found.processor}, two processes with one thread each; Python {found.python}, torch {found.torch}. All of
  it took {found.minutes:.0f} minutes. Another processor rounds differently, and such a training may then overfit in
  another epoch or not at all.

## Table

{_means(found)}

| recipe | epsilon | clean images | under one step | under PGD-50-10 | overfitted | seconds of training |
|---|---|---|---|---|---|---|
{chr(10).join(rows)}
"""


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _seeds(found: Found) -> str:
    return "one seed" if len(found.seeds) == 1 else f"mean and range of {len(found.seeds)} seeds"


def _means(found: Found) -> str:
    means = "" if len(found.seeds) == 1 else "Means over the seeds, in brackets the lowest and the highest."
    if len(found.seeds) == len(SEEDS):
        return means
    return f"The sweep was interrupted: {len(found.seeds)} of {len(SEEDS)} seeds are here. {means}".strip()


def _row(found: Found, recipe: str, epsilon: str) -> str:
    seeds = found.of(recipe, epsilon)
    cells = (
        recipe,
        epsilon,
        _ranged([one.standard_accuracy for one in seeds]),
        _ranged([one.one_step_accuracy for one in seeds]),
        _ranged([one.robust_accuracy for one in seeds]),
        _alarms(found, recipe, epsilon),
        f"{fmean(one.seconds for one in seeds):.0f}",
    )
    return f"| {' | '.join(cells)} |"


def _ranged(shares: Sequence[float]) -> str:
    if len(shares) == 1:
        return f"{shares[0]:.1%}"
    return f"{fmean(shares):.1%} ({min(shares):.1%} to {max(shares):.1%})"


def _said(found: Found) -> str:
    lines = []
    for recipe in RECIPES:
        large, largest = found.of(recipe, LARGE), found.of(recipe, EPSILONS[-1])
        one_step = fmean(one.one_step_accuracy for one in large)
        lines.append(
            f"- **{recipe}**: with epsilon {LARGE} {one_step:.1%} resist one step and\n"
            f"  {_robust(large)} resist PGD-50-10; with {EPSILONS[-1]} {_robust(largest)} do."
        )
    for epsilon in (LARGE, EPSILONS[-1]):
        weak = [
            f"{recipe} (the watch saw {_alarms(found, recipe, epsilon)})"
            for recipe in RECIPES
            if fmean(one.robust_accuracy for one in found.of(recipe, epsilon)) < _WEAK
        ]
        lines.append(
            f"- **Less than {_WEAK:.0%} is left on average with epsilon {epsilon}** under PGD-50-10, of\n"
            f"  {', '.join(weak) or 'none'}."
        )
    alarms = [
        f"{recipe} with {epsilon}"
        for recipe in RECIPES
        for epsilon in EPSILONS
        if any(one.overfitted_in is not None for one in found.of(recipe, epsilon))
    ]
    lines.append(
        f"- **The watch** gave the alarm with {', '.join(alarms) or 'no recipe'}, and nowhere else.\n"
        "  Ten steps from one start find less than PGD-50-10: its silence is no proof."
    )
    if len(found.seeds) < len(SEEDS):
        few = f"{len(found.seeds)} of {len(SEEDS)} seeds"
        lines.append(f"- **Not known**: how much of this is chance; {few} were measured.")
    return "\n".join(lines)


def _robust(seeds: Sequence[Outcome]) -> str:
    return _ranged([one.robust_accuracy for one in seeds])


def _alarms(found: Found, recipe: str, epsilon: str) -> str:
    seeds = found.of(recipe, epsilon)
    return f"{sum(one.overfitted_in is not None for one in seeds)} of {len(seeds)}"


def draw(found: Found, path: Path) -> None:
    """Draw the figure; the same numbers give the same file."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "overfitting", "font.size": 10, "axes.grid": True, "grid.alpha": 0.3}):
        figure = Figure(figsize=(11, 5), layout="constrained")
        left, right = figure.subplots(1, 2)
        _by_epsilon(left, found)
        _by_epoch(right, found.example)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _by_epsilon(axes: Axes, found: Found) -> None:
    for place, recipe in enumerate(RECIPES):
        colour, marker, dashes = _LINES[recipe]
        shares = [[100 * one.robust_accuracy for one in found.of(recipe, epsilon)] for epsilon in EPSILONS]
        means = [fmean(seeds) for seeds in shares]
        below = [mean - min(seeds) for mean, seeds in zip(means, shares, strict=True)]
        above = [max(seeds) - mean for mean, seeds in zip(means, shares, strict=True)]
        # Beside each other, so that no range hides another.
        at = [float(epsilon) + 0.0025 * (place - len(RECIPES) // 2) for epsilon in EPSILONS]
        axes.errorbar(
            at, means, [below, above], color=colour, marker=marker, linestyle=dashes, capsize=3, label=recipe
        )  # fmt: skip
    axes.set_xticks([float(epsilon) for epsilon in EPSILONS], EPSILONS)
    axes.set(
        title=f"Which recipes hold ({_seeds(found)})",
        xlabel="epsilon, in training and attack (Linf)",
        ylabel="accuracy under PGD-50-10, test split (%)",
        ylim=(-3, 103),
    )
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=3, columnspacing=1, fontsize=9)


def _by_epoch(axes: Axes, example: Outcome) -> None:
    epochs = [one.epoch for one in example.epochs]
    for label, colour, marker, dashes, values in (
        ("under one step (%)", "#d55e00", "o", "-", [one.one_step_accuracy for one in example.epochs]),
        ("under ten steps (%)", "#0072b2", "D", "--", [one.robust_accuracy for one in example.epochs]),
        ("gradient alignment (× 100)", "#000000", "x", ":", [one.alignment for one in example.epochs]),
    ):
        # Accuracies in percent, and the cosine on the same scale.
        at = [100 * value if value is not None else float("nan") for value in values]
        axes.plot(epochs, at, color=colour, marker=marker, linestyle=dashes, label=label)
    if example.overfitted_in is not None:
        axes.axvline(example.overfitted_in, color="#666666", linewidth=1)
        axes.annotate(
            f"overfitting seen\nin epoch {example.overfitted_in}", (example.overfitted_in, 101),
            xytext=(4, 0), textcoords="offset points", va="top", fontsize=9,
        )  # fmt: skip
    axes.set(
        title=f"One FGSM training, epsilon {example.epsilon}, seed {example.seed}",
        xlabel="epoch",
        ylabel="accuracy of held-out images (%), alignment × 100",
        ylim=(-3, 103),
    )
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2, columnspacing=1, fontsize=9)
