"""The best known robust accuracy: the worst case, point by point, over every evaluation whose examples were judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from benchmark.merging import worst_case
from benchmark.report import EvaluationReport, Points
from store.blobs import Blobs
from store.database import Database, database_now_ms
from store.states import lock_submission
from store.tables import EntryHistoryRow, EntryRow, ReportRow

_LONGEST_SOURCE = 300


@dataclass(frozen=True)
class Contribution:
    """What an evaluation has broken.

    Args:
        source: whose evaluation it is, for people; no other of the entry's has the same.
        broken: by position in the data set: by what, and at which distance.
    """

    source: str
    broken: Mapping[int, tuple[str, float]]


def broken_in(report: EvaluationReport, label: str) -> dict[int, tuple[str, float]]:
    """Return what the attacks of a report broke.

    Args:
        report: of an evaluation.
        label: what comes before the attacks' names.
    """
    points = report.points
    rows = zip(points.index, points.broken_by, points.distance, strict=True)
    return {
        index: (f"{label} {by}", distance)
        for index, by, distance in rows
        if by not in (None, "clean") and distance is not None
    }


def broken_by_second(report: EvaluationReport) -> dict[int, tuple[str, float]]:
    """Return what the second attack of a report broke."""
    second = report.second_attack
    if second is None:
        return {}
    rows = zip(second.index, second.distance, strict=True)
    return {index: (f"unannounced {second.outcome.name}", distance) for index, distance in rows if distance is not None}


def contribute(
    db: Database,
    blobs: Blobs,
    entry_id: int,
    contribution: Contribution,
    then: Callable[[Session, int], bool],
) -> None:
    """Count what an evaluation broke towards the best known robust accuracy of an entry.

    Args:
        db: the database.
        blobs: where the worst case lies, point by point.
        entry_id: whose.
        contribution: what was broken.
        then: what else belongs to the transaction, told how many points nobody had broken before; False where the
            evaluation is concluded already, and nothing is written.
    """
    while True:
        with db.snapshot() as session:
            entry = session.get_one(EntryRow, entry_id)
            submission_id, present = entry.submission_id, points_sha256(session, entry)
        before = Points.from_bytes(blobs.read(present))
        known = set(before.index)
        after = worst_case(before, {i: by for i, by in contribution.broken.items() if i in known})
        merged = blobs.put(after.to_bytes())
        newly_broken = sum(before.robust) - sum(after.robust)
        with db.transaction() as session:
            # First the submission, as everybody does who changes both: PostgreSQL itself locks it for an entry that is
            # changed twice, because it is named there.
            if submission_id is not None:
                lock_submission(session, submission_id)
            entry = session.get_one(EntryRow, entry_id, with_for_update=True, populate_existing=True)
            if points_sha256(session, entry) != present:
                continue  # another evaluation came in between: what is new is to be counted again
            if then(session, newly_broken):
                _record(session, entry, contribution.source, after, newly_broken)
                entry.best_known_sha256 = merged
                session.flush()
            return


def points_sha256(session: Session, entry: EntryRow) -> str:
    """Return the blob of the worst case so far, point by point."""
    if entry.best_known_sha256 is not None:
        return entry.best_known_sha256
    return session.execute(select(ReportRow.points_sha256).where(ReportRow.id == entry.report_id)).scalar_one()


def remember(
    session: Session, entry: EntryRow, source: str, robust_accuracy: float | None, newly_broken: int | None = None
) -> None:
    """Keep a number that an entry bears from now on, with whose it is.

    Args:
        session: the transaction.
        entry: whose.
        source: whose evaluation it is.
        robust_accuracy: the number.
        newly_broken: how many points nobody had broken before; None where nothing came before.
    """
    session.add(
        EntryHistoryRow(
            entry_id=entry.id,
            source=source,
            standard_accuracy=entry.standard_accuracy,
            robust_accuracy=robust_accuracy,
            newly_broken=newly_broken,
            recorded_ms=database_now_ms(session),
        )
    )
    session.flush()


def _record(session: Session, entry: EntryRow, source: str, points: Points, newly_broken: int) -> None:
    accuracy = sum(points.robust) / len(points.index)
    remember(session, entry, source, accuracy, newly_broken)
    if newly_broken:
        entry.best_known_robust_accuracy = accuracy
        entry.best_known_source = name_sources(session, entry)


def name_sources(session: Session, entry: EntryRow) -> str:
    """Say whose evaluations the worst case is made of: the entry's own, and those that broke a point first."""
    history = session.scalars(
        select(EntryHistoryRow).where(EntryHistoryRow.entry_id == entry.id).order_by(EntryHistoryRow.id)
    ).all()
    text = " + ".join(item.source for number, item in enumerate(history) if number == 0 or item.newly_broken)
    return text if len(text) <= _LONGEST_SOURCE else f"{text[:_LONGEST_SOURCE]}…"
