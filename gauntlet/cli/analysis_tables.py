"""Analyses as tables for people: one for each, the models below each other. Nothing here needs torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from benchmark.analysis.results import TITLES, Analysis, Study
from gauntlet.cli.console import percent

Cells = tuple[object, ...]
Studies = Mapping[str, Study]


@dataclass(frozen=True)
class TableOf:
    """An analysis of several models.

    Args:
        title: what it is.
        columns: their heads.
        rows: as many cells each.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[Cells, ...]


def table_for(analysis: Analysis, studies: Studies) -> TableOf | None:
    """Return the table of an analysis; None where none of the models has it.

    Args:
        analysis: which.
        studies: of the models, by name.
    """
    made = {name: one for name, one in studies.items() if analysis in one.made}
    if not made:
        return None
    columns, rows, remark = _TABLES[analysis](made)
    title = f"{TITLES[analysis]}: {remark}" if remark else TITLES[analysis]
    return TableOf(title, columns, tuple(rows))


def reasons(studies: Studies) -> TableOf | None:
    """Return why analyses were left out; None where none was."""
    rows = [(name, TITLES[analysis], why) for name, one in studies.items() for analysis, why in one.left_out.items()]
    return TableOf("Left out", ("Model", "Analysis", "Reason"), tuple(rows)) if rows else None


def _calibration(studies: Studies) -> tuple[tuple[str, ...], Iterator[Cells], str]:
    columns = ("Model", "Standard", "ECE", "Best temperature", "ECE at it")
    rows = (
        (
            name,
            percent(one.standard_accuracy),
            percent(part.ece),
            f"{part.temperature:.3g}{' (border)' if part.on_border else ''}",
            percent(part.ece_at_temperature),
        )
        for name, one in studies.items()
        if (part := one.calibration)
    )
    return columns, rows, ""


def _ood(studies: Studies) -> tuple[tuple[str, ...], Iterator[Cells], str]:
    rows = (
        (name, foreign.name, foreign.points, _three(foreign.auroc), percent(foreign.mean_confidence),
         percent(one.ood.mean_confidence))
        for name, one in studies.items()
        if one.ood
        for foreign in one.ood.sets
    )  # fmt: skip
    return ("Model", "Foreign data", "Points", "AUROC", "Mean confidence", "… in its own"), rows, ""


def _fairness(studies: Studies) -> tuple[tuple[str, ...], Iterator[Cells], str]:
    columns = ("Model", "Robust", "Standard spread", "Robust spread", "Worst class", "Its robust accuracy")
    rows = (
        (name, percent(part.robust_accuracy), _three(part.standard_spread), _three(part.robust_spread),
         part.worst_class, percent(part.worst_robust_accuracy))
        for name, one in studies.items()
        if (part := one.fairness)
    )  # fmt: skip
    return columns, rows, "a spread is the standard deviation over the mean"


def _privacy(studies: Studies) -> tuple[tuple[str, ...], Iterator[Cells], str]:
    columns = ("Model", "By confidence", "By label", "Adversarial by confidence", "Adversarial by label")
    rows = (
        (name, *(percent(share) for part in (one.privacy.benign, one.privacy.adversarial)
                 for share in (part.by_confidence, part.by_label)))
        for name, one in studies.items()
        if one.privacy
    )  # fmt: skip
    return columns, rows, "how often it is guessed right; 50 % is chance"


def _smoothness(studies: Studies) -> tuple[tuple[str, ...], Iterator[Cells], str]:
    layers = {one.smoothness.layer for one in studies.values() if one.smoothness}
    rows = (
        (name, f"{part.lipschitz:.1f}", f"{part.angular_lipschitz:.2f}")
        for name, one in studies.items()
        if (part := one.smoothness)
    )
    (layer,) = layers if len(layers) == 1 else (None,)
    return ("Model", "Lipschitz", "Angular Lipschitz"), rows, f"of layer {layer}" if layer else "of the logits"


def _shift(studies: Studies) -> tuple[tuple[str, ...], Iterator[Cells], str]:
    rows = (
        (name, part.name, part.points, percent(part.standard_accuracy), part.attacked, percent(part.robust_accuracy))
        for name, one in studies.items()
        if one.shift
        for part in (one.shift.own, *one.shift.sets)
    )
    return ("Model", "Data", "Points", "Standard", "Attacked", "Robust"), rows, "the first of each model are its own"


def _transfer(studies: Studies) -> tuple[tuple[str, ...], Iterator[Cells], str]:
    # All of them were compared at once: it is the same for each.
    one = next(study.transfer for study in studies.values() if study.transfer)
    rows = ((source, *map(percent, row)) for source, row in zip(one.names, one.robust, strict=True))
    return ("Source", *one.names), rows, f"robust accuracy of each column under {one.method} made on each row"


def _curve(studies: Studies) -> tuple[tuple[str, ...], Iterator[Cells], str]:
    kept = {
        name: {point.epsilon: point.robust_accuracy for point in one.curve.at}
        for name, one in studies.items()
        if one.curve
    }
    budgets = sorted({epsilon for at in kept.values() for epsilon in at})
    rows = ((f"{epsilon:.4g}", *(percent(at.get(epsilon)) for at in kept.values())) for epsilon in budgets)
    return ("Budget", *kept), rows, ""


def _distances(studies: Studies) -> tuple[tuple[str, ...], Iterator[Cells], str]:
    rows = (
        (name, part.points, part.found, *map(_significant, (part.quantile_10, part.median, part.quantile_90)))
        for name, one in studies.items()
        if (part := one.distances)
    )
    return ("Model", "Points", "With an example", "10 % quantile", "Median", "90 % quantile"), rows, ""


def _alignment(studies: Studies) -> tuple[tuple[str, ...], Iterator[Cells], str]:
    columns = ("Model", "Points", "Mean", "10 % quantile", "Median", "90 % quantile", "Zero gradients")
    rows = (
        (name, part.points, *map(_three, (part.mean, part.quantile_10, part.median, part.quantile_90)),
         percent(part.zero_gradients))
        for name, one in studies.items()
        if (part := one.alignment)
    )  # fmt: skip
    return columns, rows, "cosine of gradients at a point and around it"


def _sharpness(studies: Studies) -> tuple[tuple[str, ...], Iterator[Cells], str]:
    rows = (
        (name, _significant(one.sharpness.loss), kind, _significant(part.rho), _significant(part.rise))
        for name, one in studies.items()
        if one.sharpness
        for kind, parts in (("average", one.sharpness.average), ("worst", one.sharpness.worst))
        for part in parts
    )
    return ("Model", "Loss", "Moves", "Radius", "Rise of the loss"), rows, ""


def _three(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"


def _significant(value: float | None) -> str | None:
    return None if value is None else f"{value:.4g}"


_TABLES: Mapping[Analysis, Callable[[Studies], tuple[tuple[str, ...], Iterator[Cells], str]]] = {
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
