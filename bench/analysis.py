"""Analyse the models that come along beside their robustness, and see which findings of the paper hold for them.

    python -m bench.analysis

Writes docs/analysis-digits.md, its figures, and the numbers behind both; takes about ten minutes on one core.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from textwrap import fill

from benchmark import datasets
from benchmark.analysis.material import Material
from benchmark.analysis.plots import as_svg, title_of
from benchmark.analysis.results import Analysis, ShiftedSet, Study, Transferability
from benchmark.analysis.study import TABLE, study
from benchmark.analysis.transfer import transferability
from benchmark.threat_models import official_board
from gauntlet.cli.analysis_tables import TableOf, table_for
from model_zoo import load_model

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE, NUMBERS = (DOCS / f"analysis-digits.{ending}" for ending in ("md", "json"))
FIGURES = DOCS / "analysis"
BOARDS: Mapping[str, tuple[str, ...]] = {
    "Linf": ("Digits_Standard", "Digits_FGSM", "Digits_FGSM_RS", "Digits_PGD2", "Digits_PGD10"),
    "L2": ("Digits_Standard", "Digits_FGSM_L2", "Digits_PGD2_L2", "Digits_PGD10_L2"),
}
UNDEFENDED = "Digits_Standard"


@dataclass(frozen=True)
class Found:
    """What was found on a board.

    Args:
        studies: of its models, by name, the undefended one first.
        transfer: among them.
        seconds: that it took, without loading.
    """

    studies: Mapping[str, Study]
    transfer: Transferability
    seconds: float

    def robust(self, name: str) -> float:
        """Return the robust accuracy under the attack of the class by class comparison."""
        fairness = self.studies[name].fairness
        if fairness is None or fairness.robust_accuracy is None:
            raise ValueError("a study without its classes")
        return fairness.robust_accuracy

    def having(self, analysis: Analysis) -> dict[str, Study]:
        """Return the studies that have an analysis; the matrix of all models is in the first of them alone."""
        if analysis is Analysis.TRANSFER:
            name, first = next(iter(self.studies.items()))
            return {name: first.model_copy(update={"transfer": self.transfer})}
        return {name: one for name, one in self.studies.items() if analysis in one.made}

    @property
    def defended(self) -> tuple[str, ...]:
        """The models that were trained to be robust."""
        return tuple(name for name in self.studies if name != UNDEFENDED)


def main() -> int:
    """Analyse all models, and write page, figure and numbers."""
    points = datasets.load("digits", "test")
    boards = {}
    for threat_model, names in BOARDS.items():
        budget = official_board("digits", threat_model).budget
        models = {name: load_model(name, dataset="digits", threat_model=threat_model) for name in names}
        began = time.perf_counter()
        studies = {}
        for name, model in models.items():
            studies[name] = study(Material(model, points, budget), set(TABLE) - {Analysis.TRANSFER})
            print(f"{threat_model} {name}: {sum(studies[name].seconds.values()):.0f} s", file=sys.stderr)
        transfer = transferability(models, points.x, points.y, budget)
        boards[threat_model] = Found(studies, transfer, time.perf_counter() - began)
    numbers = {
        name: {
            "studies": {model: one.model_dump(mode="json") for model, one in found.studies.items()},
            "transfer": found.transfer.model_dump(mode="json"),
            "seconds": found.seconds,
        }
        for name, found in boards.items()
    }
    NUMBERS.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(boards), encoding="utf-8")
    draw(boards)
    return 0


def read(path: Path) -> dict[str, Found]:
    """Read the numbers that an earlier run has written."""
    return {
        name: Found(
            {model: Study.model_validate(one) for model, one in kept["studies"].items()},
            Transferability.model_validate(kept["transfer"]),
            kept["seconds"],
        )
        for name, kept in json.loads(path.read_text(encoding="utf-8")).items()
    }


def page(boards: Mapping[str, Found]) -> str:
    """Return the page that tells what was found."""
    parts = [
        "# The models of the digits boards, beside their robustness",
        _words(
            """Written by `python -m bench.analysis`, over all 500 test images and as many training images. What each
            number is stands in the file of its analysis, in `benchmark/analysis`. None of them ranks. Robust accuracy
            is that under the attack by which classes are compared, three targets of 20 steps; the boards' own is
            lower."""
        ),
    ]
    for threat_model, found in boards.items():
        parts.append(f"## digits/{threat_model}")
        for analysis in Analysis:
            parts += _section(threat_model, found, analysis)
        slowest = max(sum(one.seconds.values()) for one in found.studies.values())
        parts.append(_words(f"All of it took {found.seconds:.0f} s, and the slowest model {slowest:.0f} s of these."))
    parts.append("## Which statements hold here")
    parts.append(
        _words(
            """The first six are findings of Croce et al. 2021, arXiv:2010.09670; the others are asked beside
            them, about detection, corrupted images and gradients."""
        )
    )
    parts.append(findings(boards))
    return "\n\n".join(parts) + "\n"


def _section(threat_model: str, found: Found, analysis: Analysis) -> list[str]:
    """Return the table of an analysis and its figure."""
    studies = found.having(analysis)
    table = table_for(analysis, studies)
    if table is None:
        return []
    return [_markdown(table), f"![{title_of(analysis, studies)}](analysis/{_figure(threat_model, analysis)})"]


def findings(boards: Mapping[str, Found]) -> str:
    """Say of each statement on which boards it holds, by which numbers."""
    lines = []
    for claim, held in (
        ("Robust models are underconfident: the best temperature of each is below 1", _underconfident),
        ("Robust models are smoother at their output than the undefended one", _smoother),
        ("Their direction alone is smoother too", _smoother_in_direction),
        ("The more robust a model, the more even its classes (robust spread falls)", _more_even),
        ("Examples carry over worst from robust models to the undefended one", _carries_over_worst),
        (
            "Membership is guessed hardly better on adversarial images than on benign ones, by 0.02 at most",
            _private,
        ),
        ("Robust models tell their own data from foreign data worse than the undefended one", _worse_detectors),
        ("Robust models lose less standard accuracy on corrupted images than the undefended one", _keep_more_corrupted),
        ("Robust accuracy is lost on corrupted images", _lose_robustness),
        ("Gradients of robust models are better aligned than those of the undefended one", _aligned),
    ):
        for threat_model, found in boards.items():
            holds, by = held(found)
            lines.append(f"- {claim}. {threat_model}: **{'holds' if holds else 'does not hold'}**, {by}.")
    return "\n".join(fill(line, 120, subsequent_indent="  ") for line in lines)


def _underconfident(found: Found) -> tuple[bool, str]:
    values = {name: found.studies[name].calibration for name in found.defended}
    temperatures = {name: one.temperature for name, one in values.items() if one is not None}
    return all(t < 1 for t in temperatures.values()), _listed(temperatures, "temperature", "{:.2f}".format)


def _smoother(found: Found) -> tuple[bool, str]:
    return _below(found, "Lipschitz constant", lambda one: one.smoothness.lipschitz if one.smoothness else None)


def _smoother_in_direction(found: Found) -> tuple[bool, str]:
    return _below(
        found, "angular Lipschitz constant", lambda one: one.smoothness.angular_lipschitz if one.smoothness else None
    )


def _below(
    found: Found, what: str, of: Callable[[Study], float | None], form: Callable[[float], str] = "{:.1f}".format
) -> tuple[bool, str]:
    values = {name: value for name, one in found.studies.items() if (value := of(one)) is not None}
    holds = all(values[name] < values[UNDEFENDED] for name in found.defended)
    return holds, _listed(values, what, form)


def _more_even(found: Found) -> tuple[bool, str]:
    spreads = {
        name: one.robust_spread
        for name in sorted(found.defended, key=found.robust)
        if (one := found.studies[name].fairness) is not None and one.robust_spread is not None
    }
    ordered = list(spreads.values())
    return ordered == sorted(ordered, reverse=True), _listed(spreads, "spread, the least robust first", "{:.2f}".format)


def _carries_over_worst(found: Found) -> tuple[bool, str]:
    names, robust = found.transfer.names, found.transfer.robust
    # Less what a model keeps without an attack: what an attack takes, from pair to pair.
    taken = {
        (source, target): found.studies[target].standard_accuracy - robust[i][j]
        for i, source in enumerate(names)
        for j, target in enumerate(names)
        if i != j
    }
    least = min(taken, key=lambda pair: taken[pair])
    to_undefended = [taken[name, UNDEFENDED] for name in found.defended]
    by = (
        f"least is taken from {least[0]} to {least[1]}, {100 * taken[least]:.1f} points; from robust models to the "
        f"undefended one it is {100 * min(to_undefended):.1f} to {100 * max(to_undefended):.1f}"
    )
    return least[0] != UNDEFENDED and least[1] == UNDEFENDED, by


def _private(found: Found) -> tuple[bool, str]:
    gains = {
        name: one.adversarial.by_confidence - one.benign.by_confidence
        for name, each in found.studies.items()
        if (one := each.privacy) is not None
    }
    return all(gain <= 0.02 for gain in gains.values()), _listed(gains, "gain", "{:+.3f}".format)


def _worse_detectors(found: Found) -> tuple[bool, str]:
    return _below(
        found,
        "mean AUROC",
        lambda one: fmean(each.auroc for each in one.ood.sets) if one.ood else None,
        "{:.3f}".format,
    )


def _keep_more_corrupted(found: Found) -> tuple[bool, str]:
    def lost(one: Study) -> float | None:
        corrupted = _corrupted(one)
        return (
            None
            if one.shift is None or corrupted is None
            else 100 * (one.shift.own.standard_accuracy - corrupted.standard_accuracy)
        )

    return _below(found, "points lost", lost)


def _lose_robustness(found: Found) -> tuple[bool, str]:
    values = {
        name: 100 * (one.shift.own.robust_accuracy - corrupted.robust_accuracy)
        for name, one in found.studies.items()
        if name != UNDEFENDED and one.shift and (corrupted := _corrupted(one))
    }
    return all(value > 0 for value in values.values()), _listed(values, "points lost", "{:.0f}".format)


def _aligned(found: Found) -> tuple[bool, str]:
    values = {name: one.alignment.mean for name, one in found.studies.items() if one.alignment}
    holds = all(values[name] > values[UNDEFENDED] for name in found.defended)
    return holds, _listed(values, "mean cosine", "{:.2f}".format)


def _corrupted(one: Study) -> ShiftedSet | None:
    return next((each for each in (one.shift.sets if one.shift else ()) if each.name.endswith("-c")), None)


def _listed(values: Mapping[str, float], what: str, form: Callable[[float], str]) -> str:
    return f"{what} " + ", ".join(f"{form(value)} ({name})" for name, value in values.items())


def _markdown(table: TableOf) -> str:
    rows = (
        " | ".join("–" if cell is None else str(cell).replace("|", "\\|") for cell in row)
        for row in (table.columns, *table.rows)
    )
    head, *others = (f"| {row} |" for row in rows)
    return "\n\n".join((f"### {table.title}", "\n".join((head, "|---" * len(table.columns) + "|", *others))))


def _words(text: str) -> str:
    return fill(" ".join(text.split()), 120)


def draw(boards: Mapping[str, Found]) -> None:
    """Draw every analysis of every board."""
    FIGURES.mkdir(exist_ok=True)
    for threat_model, found in boards.items():
        for analysis in Analysis:
            studies = found.having(analysis)
            if studies:
                path = FIGURES / _figure(threat_model, analysis)
                path.write_text(as_svg(analysis, studies), encoding="utf-8")


def _figure(threat_model: str, analysis: Analysis) -> str:
    return f"digits-{threat_model}-{analysis}.svg"


if __name__ == "__main__":
    sys.exit(main())
