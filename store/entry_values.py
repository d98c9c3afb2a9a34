"""What an entry says of whoever made its model, and of its evaluation here; only these functions write it."""

from __future__ import annotations

from benchmark.report import CheckOutcome, EvaluationReport, canonical_json
from store.tables import EntryRow, ReportRow, RunRow, SubmissionRow

NO_DOUBT = frozenset({"standard_accuracy"})
"""Checks that say nothing of the robust accuracy, so that nobody need look closer where they are flagged."""


def set_names(entry: EntryRow, submission: SubmissionRow) -> None:
    """Write down who made the model; of an anonymous submission nothing, so that nothing that reads entries can tell.

    The owner is left out as well: a team or an account that is shown beside the entry would tell as much.
    """
    hidden = submission.anonymous
    entry.anonymous = hidden
    entry.title = submission.name if hidden or not submission.title else submission.title
    entry.authors = "" if hidden else submission.authors
    entry.venue = "" if hidden else submission.venue
    entry.link = "" if hidden else submission.paper_url
    entry.owner_id = None if hidden else submission.owner_id


def set_numbers(entry: EntryRow, run: RunRow, report: EvaluationReport, stored: ReportRow) -> None:
    """Write down what an evaluation found, and by which protocol; the best known value is none of it."""
    entry.protocol, entry.report_id, entry.parameters = run.protocol, stored.id, run.parameters
    entry.epsilon = run.epsilon if report.corruptions is None else None
    entry.standard_accuracy, entry.robust_accuracy = report.standard_accuracy, report.robust_accuracy
    entry.standard_low, entry.standard_high = report.standard_interval.low, report.standard_interval.high
    entry.robust_low, entry.robust_high = report.robust_interval.low, report.robust_interval.high
    entry.potentially_unreliable = _unreliable(report)
    entry.findings = canonical_json(_flagged(report)).decode()


def in_doubt(report: EvaluationReport) -> bool:
    """Tell whether a check says that the robust accuracy may be too high."""
    return bool(set(_flagged(report)) - NO_DOUBT)


def _flagged(report: EvaluationReport) -> list[str]:
    return [check.code for check in report.findings if check.outcome is CheckOutcome.FLAGGED]


def _unreliable(report: EvaluationReport) -> bool | None:
    square = next((check for check in report.checks if check.code == "square_helps"), None)
    if square is None or square.outcome is CheckOutcome.NOT_ASSESSED:
        return None
    return square.outcome is CheckOutcome.FLAGGED
