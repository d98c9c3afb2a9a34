"""Entries of a board side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from benchmark.errors import InvalidInput
from benchmark.report import EvaluationReport, Points
from benchmark.side_by_side import SideBySide, Standing, check_number, side_by_side
from benchmark.threat_models import official_board
from store.blobs import Blobs
from store.boards import ranked_entries, view_row
from store.database import Database
from store.entries import model_not_found
from store.reports import read_reports
from store.tables import EntryRow
from store.views import BoardRow, View


class ComparisonView(View):
    """Entries of a board side by side."""

    dataset: str
    threat_model: str
    entries: tuple[BoardRow, ...]
    """In the order in which they were named."""
    comparison: SideBySide


def compare_entries(
    db: Database, blobs: Blobs, dataset: str, threat_model: str, model_ids: Sequence[str]
) -> ComparisonView:
    """Compare entries of a board that were evaluated here, point by point. Takes a fixed number of queries.

    Args:
        db: the database.
        blobs: where the verdicts lie.
        dataset: with ``threat_model`` the board's name.
        threat_model: see ``dataset``.
        model_ids: from two to five entries.
    Raises:
        NotFound: there is no such board or entry.
        InvalidInput: they are too few or too many, one is named twice or was not evaluated here, or the points that
            they were evaluated on differ.
    """
    board = official_board(dataset, threat_model)
    _check_names(model_ids)
    with db.snapshot() as session:
        found = {
            entry.model_id: (entry, rank)
            for entry, rank in session.execute(ranked_entries(board).where(EntryRow.model_id.in_(model_ids)))
        }
        for model_id in model_ids:
            if model_id not in found:
                raise model_not_found(board, model_id)
        entries = [found[model_id] for model_id in model_ids]
        reports = read_reports(session, blobs, [_report_of(entry) for entry, _ in entries])
        standings = {entry.model_id: _standing(blobs, reports[_report_of(entry)], entry) for entry, _ in entries}
        rows = tuple(view_row(entry, rank) for entry, rank in entries)
    return ComparisonView(dataset=dataset, threat_model=threat_model, entries=rows, comparison=side_by_side(standings))


def _check_names(model_ids: Sequence[str]) -> None:
    twice = [model_id for model_id, times in Counter(model_ids).items() if times > 1]
    if twice:
        raise InvalidInput.because(
            "model", found=f"{twice[0][:80]!r} twice", expected="different entries", remedy="name each once"
        )
    check_number(len(model_ids), "entries")  # before any report is read


def _standing(blobs: Blobs, report: EvaluationReport, entry: EntryRow) -> Standing:
    """Return what is known of an entry's points; where no worst case is kept, no other evaluation was counted yet."""
    merged = entry.best_known_sha256
    return Standing(report, report.points if merged is None else Points.from_bytes(blobs.read(merged)))


def _report_of(entry: EntryRow) -> int:
    if entry.report_id is None:
        raise InvalidInput.because(
            "model", found=f"{entry.model_id!r}, which was not evaluated here",
            expected="entries with the badge evaluated_here: of others nothing is known of single points",
            remedy="choose another entry, or submit the model here",
        )  # fmt: skip
    return entry.report_id
