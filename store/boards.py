"""Leaderboards and their entries, as they are shown. Every function takes a fixed number of queries."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Subquery, Text, UnaryExpression, and_, case, cast, func, or_, select, true
from sqlalchemy.orm import Session, aliased

from benchmark.errors import NotFound
from benchmark.report import Interval
from benchmark.threat_models import BOARDS, Board, official_board
from store.actors import ANYBODY
from store.blobs import Blobs
from store.database import Database
from store.externals import view_externals
from store.look_views import view_looks
from store.reports import read_report
from store.submission_views import view_submissions
from store.tables import EntryHistoryRow, EntryRow, ExternalRow, SubmissionRow
from store.views import (
    Badge,
    BoardPoint,
    BoardRow,
    BoardSummary,
    BoardView,
    ExternalView,
    ExtraData,
    HistoryItem,
    ModelView,
    Sort,
)

_SEARCHED = (EntryRow.model_id, EntryRow.title, EntryRow.authors, EntryRow.architecture, EntryRow.venue)
_BY_CODE_POINT = Text().with_variant(Text(collation="C"), "postgresql")
_COPIED = frozenset(BoardRow.model_fields) & frozenset(EntryRow.__table__.columns.keys())


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
        first = [
            select(EntryRow.id)
            .where(*_of(board), EntryRow.withdrawn_ms.is_(None))
            .order_by(*_order(EntryRow))
            .limit(1)
            .scalar_subquery()
            for board in BOARDS
        ]
        leaders = {
            (entry.dataset, entry.threat_model): entry
            for entry in session.scalars(select(EntryRow).where(EntryRow.id.in_(first)))
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
    db: Database,
    dataset: str,
    threat_model: str,
    search: str | None = None,
    badge: Badge | None = None,
    *,
    sort: Sort = Sort.BEST,
    limit: int | None = None,
    offset: int = 0,
) -> BoardView:
    """Return a leaderboard, or a page of it; ranks are those of the whole board, whatever is shown of it.

    Args:
        db: the database.
        dataset: with ``threat_model`` the board's name.
        threat_model: see ``dataset``.
        search: show only entries with this text in name, title, authors, architecture or venue.
        badge: show only entries with this badge.
        sort: the order; unknown numbers come last, and equal ones stay in the order of the ranking.
        limit: most rows to return; None for all.
        offset: rows to pass over.
    Raises:
        NotFound: there is no such board.
    """
    board = official_board(dataset, threat_model)
    page = select(EntryRow).where(*_of(board), *_filters(search, badge)).order_by(*_order(EntryRow, sort))
    entry = aliased(EntryRow, page.limit(limit).offset(offset).subquery())
    ranks = _ranks(board)
    ranked = select(entry, ranks.c.rank).outerjoin(ranks, ranks.c.model_id == entry.model_id)
    rows = ranked.order_by(*_order(entry, sort))
    matching = func.count().filter(and_(true(), *_filters(search, badge)))
    with db.snapshot() as session:
        total, found = session.execute(select(func.count(), matching).where(*_of(board))).one()
        shown = tuple(_row(row, rank) for row, rank in session.execute(rows))
    return BoardView.model_validate({**_described(board), "total": total, "matching": found, "rows": shown})


def list_points(
    db: Database, dataset: str, threat_model: str, search: str | None = None, badge: Badge | None = None
) -> tuple[BoardPoint, ...]:
    """Return where a board's entries stand between standard and robust accuracy, in the order of the ranking.

    Entries that lack one of the two numbers are left out. The arguments are those of `get_board`.

    Raises:
        NotFound: there is no such board.
    """
    board = official_board(dataset, threat_model)
    query = (
        select(
            EntryRow.model_id,
            EntryRow.extra_data,
            EntryRow.standard_accuracy,
            EntryRow.best_known_robust_accuracy,
            EntryRow.potentially_unreliable,
            EntryRow.findings,
        )
        .where(*_of(board), *_filters(search, badge))
        .order_by(*_order(EntryRow))
    )
    with db.snapshot() as session:
        return tuple(
            BoardPoint(
                model_id=model_id,
                extra_data=ExtraData(extra_data),
                standard_accuracy=standard,
                best_known_robust_accuracy=best,
                flagged=bool(unreliable or json.loads(findings)),
            )
            for model_id, extra_data, standard, best, unreliable, findings in session.execute(query)
            if standard is not None and best is not None
        )


def get_model(db: Database, blobs: Blobs, dataset: str, threat_model: str, model_id: str) -> ModelView:
    """Return an entry with its evidence.

    Raises:
        NotFound: there is no such board or entry.
    """
    board = official_board(dataset, threat_model)
    with db.snapshot() as session:
        ranks = _ranks(board)
        wanted = select(EntryRow, ranks.c.rank).outerjoin(ranks, ranks.c.model_id == EntryRow.model_id)
        found = session.execute(wanted.where(*_of(board), EntryRow.model_id == model_id)).one_or_none()
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
                    newly_broken=item.newly_broken,
                    recorded_ms=item.recorded_ms,
                )
                for item in history
            ),
            report=read_report(session, blobs, entry.report_id) if entry.report_id else None,
            checkpoint_sha256=submission.checkpoint_sha256 if submission else None,
            # To everybody alike, its owner too: so the answer may be kept for others, and shows what others see.
            submission=view_submissions(session, [submission], ANYBODY)[0] if submission else None,
            looks=view_looks(session, submission.id) if submission else (),
            externals=_externals(session, entry.id),
        )


def _of(board: Board) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return EntryRow.dataset == board.dataset, EntryRow.threat_model == board.threat_model


def _ranks(board: Board) -> Subquery:
    """Return the ranks of a whole board by entry, in the order of an index; what was withdrawn has none."""
    known = EntryRow.best_known_robust_accuracy.is_not(None)
    rank = case((known, func.rank().over(order_by=_ranking(EntryRow))), else_=None)
    ranking = select(EntryRow.model_id, rank.label("rank"))
    return ranking.where(*_of(board), EntryRow.withdrawn_ms.is_(None)).subquery()


def _filters(search: str | None, badge: Badge | None) -> Sequence[ColumnElement[bool]]:
    filters: list[ColumnElement[bool]] = []
    if search and search.strip():
        filters.append(or_(*(column.icontains(search.strip(), autoescape=True) for column in _SEARCHED)))
    if badge is not None:
        filters.append(EntryRow.badge == badge)
    return filters


def _ranking(entry: type[EntryRow]) -> tuple[UnaryExpression[Any], ...]:
    """Return the ranking's order: the best first; unknown numbers last; of equal numbers the one published first."""
    return (
        entry.best_known_robust_accuracy.desc().nulls_last(),
        entry.standard_accuracy.desc().nulls_last(),
        entry.published_ms.asc().nulls_last(),
    )


def _order(entry: type[EntryRow], sort: Sort = Sort.BEST) -> tuple[ColumnElement[Any], ...]:
    """Return an order in which every entry of a board has its one place."""
    places = (*_ranking(entry), entry.model_id.asc())
    match sort:
        case Sort.BEST:
            return places
        case Sort.STANDARD:
            return (entry.standard_accuracy.desc().nulls_last(), *places)
        case Sort.ROBUST:
            return (entry.robust_accuracy.desc().nulls_last(), *places)
        case Sort.NAME:
            return (_name(entry), *places)


def _name(entry: type[EntryRow]) -> ColumnElement[str]:
    """Return the name that is shown, without case. The collation makes the order the same on every database."""
    shown = case((entry.title == "", entry.model_id), else_=entry.title)
    return func.lower(cast(shown, _BY_CODE_POINT))


def _row(entry: EntryRow, rank: int | None) -> BoardRow:
    copied = {name: getattr(entry, name) for name in _COPIED}
    copied |= {
        "rank": rank,
        "standard_interval": _interval(entry.standard_low, entry.standard_high),
        "robust_interval": _interval(entry.robust_low, entry.robust_high),
        "findings": tuple(json.loads(entry.findings)),
        "old_protocol": entry.badge == Badge.EVALUATED and entry.protocol != _protocol(entry),
    }
    return BoardRow.model_validate(copied)


def _protocol(entry: EntryRow) -> str:
    return official_board(entry.dataset, entry.threat_model).protocol


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


def _externals(session: Session, entry_id: int) -> tuple[ExternalView, ...]:
    rows = session.scalars(select(ExternalRow).where(ExternalRow.entry_id == entry_id).order_by(ExternalRow.id)).all()
    return view_externals(session, rows)
