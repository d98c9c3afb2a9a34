"""Leaderboards and their entries, as they are shown. Every function takes a fixed number of queries."""

from __future__ import annotations

import gzip
import json

from sqlalchemy import Select, case, func, or_, select
from sqlalchemy.orm import Session

from benchmark.errors import NotFound
from benchmark.report import EvaluationReport, Interval
from benchmark.threat_models import BOARDS, Board, official_board
from store.blobs import Blobs
from store.database import Database
from store.submission_views import view_submissions
from store.tables import EntryHistoryRow, EntryRow, ReportRow, SubmissionRow
from store.views import Badge, BoardRow, BoardSummary, BoardView, HistoryItem, ModelView

_COPIED = frozenset(BoardRow.model_fields) & frozenset(EntryRow.__table__.columns.keys())
_SEARCHED = (EntryRow.model_id, EntryRow.title, EntryRow.authors, EntryRow.architecture, EntryRow.venue)
# The best first; unknown numbers last; of equal numbers the one published first.
_ORDER = (
    EntryRow.best_known_robust_accuracy.desc().nulls_last(),
    EntryRow.standard_accuracy.desc().nulls_last(),
    EntryRow.published_ms.asc().nulls_last(),
)


def list_boards(db: Database) -> tuple[BoardSummary, ...]:
    """Return all official boards with their sizes and leaders, in their official order."""
    with db.snapshot() as session:
        counts = {
            (dataset, threat_model): (entries, evaluated)
            for dataset, threat_model, entries, evaluated in session.execute(
                select(
                    EntryRow.dataset,
                    EntryRow.threat_model,
                    func.count(),
                    func.sum(case((EntryRow.badge == Badge.EVALUATED, 1), else_=0)),
                ).group_by(EntryRow.dataset, EntryRow.threat_model)
            )
        }
        place = func.row_number().over(
            partition_by=(EntryRow.dataset, EntryRow.threat_model), order_by=(*_ORDER, EntryRow.model_id)
        )
        placed = select(EntryRow.id, place.label("place")).subquery()
        leaders = {
            (entry.dataset, entry.threat_model): entry
            for entry in session.scalars(
                select(EntryRow).join(placed, placed.c.id == EntryRow.id).where(placed.c.place == 1)
            )
        }
    summaries = []
    for board in BOARDS:
        key = (board.dataset, board.threat_model)
        entries, evaluated = counts.get(key, (0, 0))
        leader = leaders.get(key)
        rank = 1 if leader and leader.best_known_robust_accuracy is not None else None
        numbers = {
            "entries": entries,
            "evaluated_entries": evaluated,
            "leader": _row(leader, rank) if leader else None,
        }
        summaries.append(BoardSummary.model_validate({**_described(board), **numbers}))
    return tuple(summaries)


def get_board(
    db: Database, dataset: str, threat_model: str, search: str | None = None, badge: Badge | None = None
) -> BoardView:
    """Return a leaderboard by descending best known robust accuracy; ranks are those of the whole board.

    Args:
        db: the database.
        dataset: with ``threat_model`` the board's name.
        threat_model: see ``dataset``.
        search: show only entries with this text in name, title, authors, architecture or venue.
        badge: show only entries with this badge.
    Raises:
        NotFound: there is no such board.
    """
    board = official_board(dataset, threat_model)
    query = _ranked(board)
    if search and search.strip():
        query = query.where(or_(*(column.icontains(search.strip(), autoescape=True) for column in _SEARCHED)))
    if badge is not None:
        query = query.where(EntryRow.badge == badge)
    with db.snapshot() as session:
        rows = tuple(_row(entry, rank) for entry, rank in session.execute(query))
    return BoardView.model_validate({**_described(board), "rows": rows})


def get_model(db: Database, blobs: Blobs, dataset: str, threat_model: str, model_id: str) -> ModelView:
    """Return an entry with its evidence.

    Raises:
        NotFound: there is no such board or entry.
    """
    board = official_board(dataset, threat_model)
    with db.snapshot() as session:
        found = session.execute(_ranked(board).where(EntryRow.model_id == model_id)).one_or_none()
        if found is None:
            raise NotFound.because(
                "model",
                found=repr(model_id[:80]),
                expected=f"an entry of {board.name}",
                remedy="choose one from the leaderboard",
            )
        entry, rank = found
        history = session.scalars(
            select(EntryHistoryRow).where(EntryHistoryRow.entry_id == entry.id).order_by(EntryHistoryRow.id)
        ).all()
        submission = session.get(SubmissionRow, entry.submission_id) if entry.submission_id else None
        return ModelView(
            dataset=dataset,
            threat_model=threat_model,
            row=_row(entry, rank),
            history=tuple(
                HistoryItem(
                    source=item.source,
                    standard_accuracy=item.standard_accuracy,
                    robust_accuracy=item.robust_accuracy,
                    recorded_ms=item.recorded_ms,
                )
                for item in history
            ),
            report=_report(session, blobs, entry.report_id) if entry.report_id else None,
            checkpoint_sha256=submission.checkpoint_sha256 if submission else None,
            submission=view_submissions(session, [submission])[0] if submission else None,
        )


def _ranked(board: Board) -> Select[EntryRow, int | None]:
    here = (EntryRow.dataset == board.dataset, EntryRow.threat_model == board.threat_model)
    # Ranked in a subquery, so that whatever is filtered out later keeps its place in the ranking.
    ranks = select(EntryRow.id, func.rank().over(order_by=_ORDER).label("rank")).where(*here).subquery()
    rank = case((EntryRow.best_known_robust_accuracy.is_not(None), ranks.c.rank), else_=None)
    return select(EntryRow, rank).join(ranks, ranks.c.id == EntryRow.id).order_by(ranks.c.rank, EntryRow.model_id)


def _row(entry: EntryRow, rank: int | None) -> BoardRow:
    copied = {name: getattr(entry, name) for name in _COPIED}
    copied |= {
        "rank": rank,
        "standard_interval": _interval(entry.standard_low, entry.standard_high),
        "robust_interval": _interval(entry.robust_low, entry.robust_high),
        "findings": tuple(json.loads(entry.findings)),
    }
    return BoardRow.model_validate(copied)


def _interval(low: float | None, high: float | None) -> Interval | None:
    return None if low is None or high is None else Interval(low=low, high=high)


def _described(board: Board) -> dict[str, object]:
    return {
        "dataset": board.dataset,
        "threat_model": board.threat_model,
        "title": board.title,
        "epsilon": str(board.epsilon) if board.epsilon is not None else None,
        "points": board.points,
        "evaluated_here": board.evaluated_here,
    }


def _report(session: Session, blobs: Blobs, report_id: int) -> EvaluationReport:
    summary, points_sha256 = session.execute(
        select(ReportRow.summary, ReportRow.points_sha256).where(ReportRow.id == report_id)
    ).one()
    content = json.loads(summary)
    del content["points_sha256"]
    content["points"] = json.loads(gzip.decompress(blobs.read(points_sha256)))
    return EvaluationReport.model_validate(content)
