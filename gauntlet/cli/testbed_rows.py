"""What an attack did to each model, beside what the board says of it: as rows for a table, a CSV and a JSON file."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmark.report import Accuracy, CheckOutcome, Count, EvaluationReport, Name, Part
from gauntlet.cli.board_columns import Columns
from gauntlet.cli.console import print_table, table_of

if TYPE_CHECKING:
    from model_zoo.testbed import Trial


class Finding(Part):
    """A check that speaks against the attack's number, or against the model."""

    code: Name
    message: str
    remedy: str


class BoardSays(Part):
    """What the board, or another ensemble, says of the model; over the same points where it is known point by point."""

    source: str
    n_points: Count
    """Points that it evaluated."""
    same_points: bool
    """Whether its accuracies are over the points that were attacked, and not over all that it evaluated."""
    standard_accuracy: Accuracy | None
    robust_accuracy: Accuracy | None
    best_known_robust_accuracy: Accuracy | None
    """Over all that it evaluated, unless it is the robust accuracy."""
    newly_broken: tuple[Count, ...] | None = None
    """Positions of the points that it had left robust and this attack broke; None where it is not known by points."""
    missed: tuple[Count, ...] | None = None
    """Positions of the points that it broke and this attack left robust."""
    footnote: str = ""


class Row(Part):
    """What came of the attack on one model. Without a report there is an error, and no accuracy at all."""

    model: Name
    points: Count | None = None
    standard_accuracy: Accuracy | None = None
    robust_accuracy: Accuracy | None = None
    """Under this attack alone."""
    robust_low: Accuracy | None = None
    """Lower end of its 95 % interval."""
    robust_high: Accuracy | None = None
    forward_passes: Count | None = None
    backward_passes: Count | None = None
    seconds: float | None = None
    refused: Count | None = None
    """Examples that the judge refused for their distance, range or value."""
    board: BoardSays | None = None
    findings: tuple[Finding, ...] = ()
    error: dict[str, object] | None = None
    """In the one shape of errors: code, message, detail."""

    @property
    def difference(self) -> float | None:
        """Robust accuracy under this attack less the board's."""
        theirs = self.board.robust_accuracy if self.board is not None else None
        return None if theirs is None or self.robust_accuracy is None else self.robust_accuracy - theirs


def row_of(trial: Trial, columns: Columns | None) -> Row:
    """Join what came of an attack with what the board says.

    Args:
        trial: of one model.
        columns: what the board says of a model of that id; None where it has none.
    """
    report = trial.report
    if report is None:
        error = trial.error.as_json()["error"] if trial.error is not None else None
        return Row(model=trial.model, error=error)
    columns = _fitting(columns, trial)
    return Row(
        model=trial.model,
        points=report.n_points,
        standard_accuracy=report.standard_accuracy,
        robust_accuracy=report.robust_accuracy,
        robust_low=report.robust_interval.low,
        robust_high=report.robust_interval.high,
        forward_passes=sum(attack.forward_passes for attack in report.attacks),
        backward_passes=sum(attack.backward_passes for attack in report.attacks),
        seconds=report.provenance.seconds,
        refused=sum(attack.over_budget for attack in report.attacks),
        board=None if columns is None else _says(columns, report),
        findings=tuple(
            Finding(code=check.code, message=check.message, remedy=check.remedy)
            for check in report.findings
            if check.outcome in {CheckOutcome.FLAGGED, CheckOutcome.REJECTED}
        ),
    )


def _fitting(columns: Columns | None, trial: Trial) -> Columns | None:
    """Return the columns that speak of the very model: those of the ensemble that was run beside, else the board's."""
    if trial.compared is not None:
        best = columns.best_known_robust_accuracy if columns is not None else None
        made_here = Columns.of_report(trial.compared, f"{trial.compared.protocol}, run here")
        return replace(made_here, best_known_robust_accuracy=best)
    if columns is None or columns.report is None or trial.report is None:
        return columns
    ours, theirs = (report.provenance.checkpoint_sha256 for report in (trial.report, columns.report))
    if ours == theirs:
        return columns
    return Columns(columns.source, None, None, None, columns.n_points, footnote=_ANOTHER_FILE)


_ANOTHER_FILE = "The board's entry of this name is of another file."


def _says(columns: Columns, report: EvaluationReport) -> BoardSays:
    from model_zoo.testbed import overlap

    both = overlap(report, columns.report.points) if columns.report is not None else None
    says = BoardSays(
        source=columns.source,
        n_points=columns.n_points,
        same_points=both is not None,
        standard_accuracy=columns.standard_accuracy,
        robust_accuracy=columns.robust_accuracy,
        best_known_robust_accuracy=columns.best_known_robust_accuracy,
        footnote=columns.footnote,
    )
    if both is None:
        return says
    robust = both.robust / report.n_points
    changes = {
        "standard_accuracy": both.standard / report.n_points,
        "robust_accuracy": robust,
        "newly_broken": both.newly_broken,
        "missed": both.missed,
    }
    # The best known is the worst case point by point: where it is no lower, nothing more is broken at any point.
    if columns.best_known_robust_accuracy == columns.robust_accuracy:
        changes["best_known_robust_accuracy"] = robust
    return says.model_copy(update=changes)


_ACCURACIES = ("Model", "Standard", "Robust", "95 %", "Board", "Difference", "Best known")
_COUNTS = ("Model", "Newly broken", "Missed", "Refused", "Forward", "Backward", "Seconds")


def show_rows(rows: Sequence[Row], title: str) -> None:
    """Print the rows as two tables, and below them what is to be said of them."""
    print(title)
    print_table(table_of(_ACCURACIES, [_accuracies(row) for row in rows], title="Accuracies in %"))
    print_table(table_of(_COUNTS, [_counts(row) for row in rows], title="Points against the board's, and cost"))
    for line in notes(rows):
        print(line)


def _accuracies(row: Row) -> tuple[object, ...]:
    board, low, high = row.board, row.robust_low, row.robust_high
    return (
        row.model,
        _short(row.standard_accuracy),
        "failed" if row.error is not None else _short(row.robust_accuracy),
        None if low is None or high is None else f"{_short(low)}-{_short(high)}",
        _short(board.robust_accuracy) if board is not None else None,
        None if row.difference is None else f"{100 * row.difference:+.1f}",
        _short(board.best_known_robust_accuracy) if board is not None else None,
    )


def _counts(row: Row) -> tuple[object, ...]:
    board = row.board
    return (
        row.model,
        len(board.newly_broken) if board is not None and board.newly_broken is not None else None,
        len(board.missed) if board is not None and board.missed is not None else None,
        row.refused,
        row.forward_passes,
        row.backward_passes,
        None if row.seconds is None else round(row.seconds, 1),
    )


def _short(accuracy: float | None) -> str | None:
    return None if accuracy is None else f"{100 * accuracy:.1f}"


def notes(rows: Sequence[Row]) -> list[str]:
    """Return what is to be said of the rows: where the board's numbers are from, findings, and errors; one a line."""
    lines = []
    for source, models in _together((row.board.source, row.model) for row in rows if row.board).items():
        lines.append(f"Board: {source} ({_all_or(models, rows)}).")
    for text, models in _together((_other_points(row), row.model) for row in rows).items():
        lines += [f"{_all_or(models, rows)}: {text}"] if text else []
    for footnote, models in _together((row.board.footnote, row.model) for row in rows if row.board).items():
        lines += [f"{_all_or(models, rows)}: {footnote}"] if footnote else []
    found = [(f"{finding.code}: {finding.message} {finding.remedy}", row) for row in rows for finding in row.findings]
    for text, models in _together((text, row.model) for text, row in found).items():
        lines.append(f"{_all_or(models, rows)}: {text}")
    failed = [(_error_line(row.error), row.model) for row in rows if row.error is not None]
    lines += [f"{_all_or(models, rows)} failed: {text}" for text, models in _together(failed).items()]
    return lines


def _other_points(row: Row) -> str:
    board = row.board
    if board is None or row.points is None or board.n_points == row.points:
        return ""
    if not board.same_points and board.robust_accuracy is not None:
        return f"the board's numbers are over {board.n_points} points, the attack's over {row.points}."
    if board.best_known_robust_accuracy != board.robust_accuracy:
        return f"the best known number is over all {board.n_points} points."
    return ""


def _together(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for text, model in pairs:
        found.setdefault(text, []).append(model)
    return found


def _all_or(models: Sequence[str], rows: Sequence[Row]) -> str:
    return "all models" if len(models) == len(rows) > 1 else ", ".join(models)


def _error_line(error: Mapping[str, object]) -> str:
    detail = error.get("detail")
    remedy = f" Remedy: {detail['remedy']}." if isinstance(detail, dict) else ""
    return f"{error['message']}{remedy}"


def rows_as_csv(rows: Sequence[Row]) -> str:
    """Return the rows as CSV, with accuracies from 0 to 1 and nothing where nothing is known."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_CSV_COLUMNS)
    for row in rows:
        board = row.board
        writer.writerow(
            (
                *(getattr(row, name) for name in _CSV_OWN),
                *(getattr(board, name, None) for name in _CSV_BOARD),
                row.difference,
                None if board is None or board.newly_broken is None else len(board.newly_broken),
                None if board is None or board.missed is None else len(board.missed),
                board.source if board is not None else None,
                " ".join(finding.code for finding in row.findings),
                None if row.error is None else _error_line(row.error),
            )
        )
    return text.getvalue()


_CSV_OWN = (
    "model", "points", "standard_accuracy", "robust_accuracy", "robust_low", "robust_high", "forward_passes",
    "backward_passes", "seconds", "refused",
)  # fmt: skip
_CSV_BOARD = ("n_points", "standard_accuracy", "robust_accuracy", "best_known_robust_accuracy")
_CSV_COLUMNS = (
    *_CSV_OWN, "board_points", "board_standard_accuracy", "board_robust_accuracy", "best_known_robust_accuracy",
    "difference", "newly_broken", "missed", "board_source", "findings", "error",
)  # fmt: skip
