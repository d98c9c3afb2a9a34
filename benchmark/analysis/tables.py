"""The numbers of an analysis as rows, one number a row, for one model or for several beside each other.

Every row says whose number it is, what it measures, at what (a class, a bin, a budget, a data set; None for the model
as a whole), and its value. Accuracies and other shares are fractions of 1.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping

from benchmark.analysis.results import TITLES, Analysis, Study
from benchmark.cells import as_cell
from benchmark.errors import InvalidInput

Value = str | float | int | None
Row = dict[str, Value]
Numbers = Iterator[tuple[str, Value, Value]]
"""What is measured, at what, and the number."""

COLUMNS = ("model", "measure", "at", "value")
"""The header."""

MEASURES: Mapping[str, str] = {
    "points": "points",
    "expected_calibration_error": "expected calibration error",
    "temperature": "best temperature",
    "error_at_temperature": "error at that temperature",
    "confidence": "mean confidence",
    "accuracy": "accuracy",
    "auroc": "AUROC",
    "standard_accuracy": "standard accuracy",
    "robust_accuracy": "robust accuracy",
    "standard_spread": "spread of standard accuracy",
    "robust_spread": "spread of robust accuracy",
    "worst_robust_accuracy": "robust accuracy of the worst class",
    "members": "members",
    "others": "others",
    "guessed_by_confidence": "guessed by confidence",
    "threshold": "threshold of confidence",
    "guessed_by_label": "guessed by label",
    "lipschitz": "Lipschitz constant",
    "angular_lipschitz": "angular Lipschitz constant",
    "attacked": "points attacked",
    "found": "points with an example",
    "quantile_10": "10 % quantile",
    "median": "median",
    "mean": "mean",
    "quantile_90": "90 % quantile",
    "distance": "distance",
    "zero_gradients": "zero gradients",
    "loss": "loss without a move",
    "average_rise": "average rise of the loss",
    "worst_rise": "worst rise of the loss",
}
"""What is measured, in words."""
FRACTIONS = frozenset(
    {
        "expected_calibration_error", "error_at_temperature", "confidence", "accuracy", "standard_accuracy",
        "robust_accuracy", "worst_robust_accuracy", "guessed_by_confidence", "threshold", "guessed_by_label",
        "zero_gradients",
        "standard_spread",
        "robust_spread",
    }
)  # fmt: skip
"""The measures that people read in percent."""
ALL_POINTS = frozenset({"distance"})
"""The measures that have a row for every point: too many to read."""


class NotAnalysed(InvalidInput):
    """An analysis is asked for that was not made."""

    code = "not_analysed"


def rows(analysis: Analysis, studies: Mapping[str, Study]) -> list[Row]:
    """Return the numbers of an analysis.

    Args:
        analysis: which.
        studies: of each model, under its name.
    Returns:
        Rows with the keys of `COLUMNS`, model by model.
    Raises:
        NotAnalysed: there are no models, or one of them lacks the analysis.
    """
    require(analysis, studies)
    return [
        {"model": name, "measure": measure, "at": at, "value": value}
        for name, study in studies.items()
        for measure, at, value in _NUMBERS[analysis](study)
    ]


def as_csv(analysis: Analysis, studies: Mapping[str, Study]) -> str:
    """Return the rows as RFC 4180 has it, with no text that a spreadsheet takes for a formula.

    Raises:
        NotAnalysed: see `rows`.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    writer.writerows([as_cell(row[column]) for column in COLUMNS] for row in rows(analysis, studies))
    return text.getvalue()


def require(analysis: Analysis, studies: Mapping[str, Study]) -> None:
    """Refuse models of which there is nothing to tell.

    Raises:
        NotAnalysed: there are no models, or one of them lacks the analysis.
    """
    lacking = [name for name, study in studies.items() if analysis not in study.made]
    if lacking or not studies:
        raise NotAnalysed.because(
            "analysis",
            found=f"no {TITLES[analysis].lower()} of {lacking[0][:80]}" if lacking else "no models",
            expected="models that were analysed so",
            remedy="leave out those that were not, or have them analysed",
        )


def _calibration(study: Study) -> Numbers:
    if one := study.calibration:
        yield "points", None, one.points
        yield "expected_calibration_error", None, one.ece
        yield "temperature", None, one.temperature
        yield "error_at_temperature", None, one.ece_at_temperature
        for number, part in enumerate(one.bins, start=1):
            yield "points", number, part.points
            # Of no points there is no mean.
            yield "confidence", number, part.confidence if part.points else None
            yield "accuracy", number, part.accuracy if part.points else None


def _ood(study: Study) -> Numbers:
    if one := study.ood:
        for name, points, confidence in (("own data", one.points, one.mean_confidence), *_foreign(study)):
            yield "points", name, points
            yield "confidence", name, confidence
        for foreign in one.sets:
            yield "auroc", foreign.name, foreign.auroc


def _foreign(study: Study) -> list[tuple[str, int, float]]:
    return [(each.name, each.points, each.mean_confidence) for each in (study.ood.sets if study.ood else ())]


def _fairness(study: Study) -> Numbers:
    if one := study.fairness:
        yield "standard_spread", None, one.standard_spread
        yield "robust_spread", None, one.robust_spread
        yield "worst_robust_accuracy", None, one.worst_robust_accuracy
        for part in one.classes:
            yield "points", part.label, part.points
            yield "standard_accuracy", part.label, part.standard_accuracy
            yield "robust_accuracy", part.label, part.robust_accuracy


def _privacy(study: Study) -> Numbers:
    if one := study.privacy:
        for name, guesses in (("benign", one.benign), ("adversarial", one.adversarial)):
            yield "members", name, guesses.members
            yield "others", name, guesses.others
            yield "guessed_by_confidence", name, guesses.by_confidence
            yield "threshold", name, guesses.threshold
            yield "guessed_by_label", name, guesses.by_label


def _smoothness(study: Study) -> Numbers:
    if one := study.smoothness:
        yield "points", None, one.points
        yield "lipschitz", None, one.lipschitz
        yield "angular_lipschitz", None, one.angular_lipschitz


def _shift(study: Study) -> Numbers:
    if one := study.shift:
        for part in (one.own, *one.sets):
            yield "points", part.name, part.points
            yield "standard_accuracy", part.name, part.standard_accuracy
            yield "attacked", part.name, part.attacked
            yield "robust_accuracy", part.name, part.robust_accuracy


def _transfer(study: Study) -> Numbers:
    if one := study.transfer:
        yield "points", None, one.points
        for source, kept in zip(one.names, one.robust, strict=True):
            for target, accuracy in zip(one.names, kept, strict=True):
                yield "robust_accuracy", f"{source} → {target}", accuracy


def _curve(study: Study) -> Numbers:
    if one := study.curve:
        yield "points", None, one.points
        for part in one.at:
            yield "robust_accuracy", part.epsilon, part.robust_accuracy


def _distances(study: Study) -> Numbers:
    if one := study.distances:
        yield "points", None, one.points
        yield "found", None, one.found
        yield "quantile_10", None, one.quantile_10
        yield "median", None, one.median
        yield "quantile_90", None, one.quantile_90
        for number, distance in enumerate(one.distances):
            yield "distance", number, distance


def _alignment(study: Study) -> Numbers:
    if one := study.alignment:
        yield "points", None, one.points
        yield "mean", None, one.mean
        yield "quantile_10", None, one.quantile_10
        yield "median", None, one.median
        yield "quantile_90", None, one.quantile_90
        yield "zero_gradients", None, one.zero_gradients


def _sharpness(study: Study) -> Numbers:
    if one := study.sharpness:
        yield "points", None, one.points
        yield "loss", None, one.loss
        for part in one.average:
            yield "average_rise", part.rho, part.rise
        for part in one.worst:
            yield "worst_rise", part.rho, part.rise


_NUMBERS: Mapping[Analysis, Callable[[Study], Numbers]] = {
    Analysis.CALIBRATION: _calibration,
    Analysis.OOD: _ood,
    Analysis.FAIRNESS: _fairness,
    Analysis.PRIVACY: _privacy,
    Analysis.SMOOTHNESS: _smoothness,
    Analysis.SHIFT: _shift,
    Analysis.TRANSFER: _transfer,
    Analysis.CURVE: _curve,
    Analysis.DISTANCES: _distances,
    Analysis.ALIGNMENT: _alignment,
    Analysis.SHARPNESS: _sharpness,
}
