"""Leaderboards and their entries, as they are shown. Every function takes a fixed number of queries."""

from __future__ import annotations

import json

from sqlalchemy import Select, Subquery, and_, case, func, or_, select
from sqlalchemy.orm import Session, aliased

from benchmark.report import Interval
from benchmark.threat_models import BOARDS, Board, official_board
from store.actors import ANYBODY
from store.as_of import entries_at, sources_at
from store.blobs import Blobs
from store.board_filters import EVERYTHING, BoardFilters, in_order, matching, of_board, ranked, ranking, standing
from store.database import Database
from store.entries import model_not_found
from store.externals import view_externals
from store.look_views import view_looks
from store.reports import read_report
from store.submission_views import view_submissions
from store.tables import EntryHistoryRow, EntryRow, ExternalRow, SubmissionRow
from store.teams import team_work
from store.ties import KnownVerdicts, compared_entries, find_ties
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
    Order,
    Sort,
    Ties,
)

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
                )
                .where(or_(*(standing(board) for board in BOARDS)))
                .group_by(EntryRow.dataset, EntryRow.threat_model)
            )
        }
        first = [
            select(EntryRow.id).where(ranked(board)).order_by(*in_order(EntryRow)).limit(1).scalar_subquery()
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
            "leader": view_row(leader, rank) if leader else None,
        }
        summaries.append(BoardSummary.model_validate({**_described(board), **numbers}))
    return tuple(summaries)


def get_board(
    db: Database,
    dataset: str,
    threat_model: str,
    filters: BoardFilters = EVERYTHING,
    *,
    sort: Sort = Sort.BEST,
    order: Order | None = None,
    as_of_ms: int | None = None,
    limit: int | None = None,
    offset: int = 0,
    verdicts: KnownVerdicts | None = None,
) -> BoardView:
    """Return a leaderboard, or a page of it; ranks are those of the whole board, whatever is shown of it.

    Args:
        db: the database.
        dataset: with ``threat_model`` the board's name.
        threat_model: see ``dataset``.
        filters: which entries to show.
        sort: by what; unknown values come last, and equal ones stay in the order of the ranking.
        order: which way; None for the one that is usual for ``sort``.
        as_of_ms: the moment to show; None for the present.
        limit: most rows to return; None for all.
        offset: rows to pass over.
        verdicts: where those on single points are read, to find out which entries cannot be told apart; None to leave
            that out, and in the past it always is: what was known of single points then is not on record.
    Raises:
        NotFound: there is no such board.
    """
    board = official_board(dataset, threat_model)
    source = EntryRow if as_of_ms is None else entries_at(board, as_of_ms)
    passing, counted = matching(filters, source), standing(board, filters, source)
    page = select(source).where(counted, *passing).order_by(*in_order(source, sort, order))
    entry = aliased(EntryRow, page.limit(limit).offset(offset).subquery(), adapt_on_names=True)
    ranks = _ranks(board, source)
    rows = select(entry, ranks.c.rank).outerjoin(ranks, ranks.c.model_id == entry.model_id)
    counts = func.count(), func.count().filter(counted), func.count().filter(and_(counted, *passing))
    totals = select(*counts).select_from(source).where(of_board(board, source))
    telling = verdicts if board.attacked and as_of_ms is None else None
    with db.snapshot() as session:
        everything, total, found = session.execute(totals).one()
        read = session.execute(rows.order_by(*in_order(entry, sort, order))).all()
        sources = sources_at(session, [row for row, _ in read], as_of_ms) if as_of_ms is not None else {}
        compared = compared_entries(session, board) if telling is not None else ()
    # Not in the snapshot: the verdicts may lie on another machine.
    ties = find_ties(compared, telling) if telling is not None else {}
    told = Ties.TOLD if len(compared) > 1 else Ties.NOT_TOLD
    numbers = {
        "total": total,
        "matching": found,
        "as_of_ms": as_of_ms,
        "set_aside": everything - total,
        "ties": Ties.UNAVAILABLE if ties is None else told,
        "rows": tuple(view_row(row, rank, sources.get(row.id), (ties or {}).get(row.model_id)) for row, rank in read),
    }
    return BoardView.model_validate({**_described(board), **numbers})


def list_points(
    db: Database,
    dataset: str,
    threat_model: str,
    filters: BoardFilters = EVERYTHING,
    *,
    as_of_ms: int | None = None,
) -> tuple[BoardPoint, ...]:
    """Return where a board's entries stand between standard and robust accuracy, in the order of the ranking.

    Entries that lack one of the two numbers are left out. The arguments are those of `get_board`.

    Raises:
        NotFound: there is no such board.
    """
    board = official_board(dataset, threat_model)
    entry = EntryRow if as_of_ms is None else entries_at(board, as_of_ms)
    query = (
        select(
            entry.model_id,
            entry.extra_data,
            entry.standard_accuracy,
            entry.best_known_robust_accuracy,
            entry.potentially_unreliable,
            entry.findings,
        )
        .where(standing(board, filters, entry), *matching(filters, entry))
        .order_by(*in_order(entry))
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
        found = session.execute(wanted.where(of_board(board), EntryRow.model_id == model_id)).one_or_none()
        if found is None:
            raise model_not_found(board, model_id)
        entry, rank = found
        history = session.scalars(
            select(EntryHistoryRow).where(EntryHistoryRow.entry_id == entry.id).order_by(EntryHistoryRow.id)
        ).all()
        submission = session.get(SubmissionRow, entry.submission_id) if entry.submission_id else None
        return ModelView(
            dataset=dataset,
            threat_model=threat_model,
            row=view_row(entry, rank),
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
            team=team_work(session, entry),
        )


def ranked_entries(board: Board) -> Select[EntryRow, int | None]:
    """Return the query for all entries of a board with their ranks, hidden ones too, in the order of the ranking."""
    ranks = _ranks(board)
    query = select(EntryRow, ranks.c.rank).outerjoin(ranks, ranks.c.model_id == EntryRow.model_id)
    return query.where(of_board(board)).order_by(*in_order(EntryRow))


def view_row(entry: EntryRow, rank: int | None, source: str | None = None, tied_with: str | None = None) -> BoardRow:
    """Show an entry; of an anonymous one nothing that tells who made it.

    Args:
        entry: the entry.
        rank: its rank.
        source: whose evaluations its best known value is made of, where the row does not say it.
        tied_with: the best of the entries that it cannot be told apart from.
    """
    copied = {name: getattr(entry, name) for name in _COPIED}
    copied |= {
        "rank": rank,
        "tied_with": tied_with,
        "standard_interval": _interval(entry.standard_low, entry.standard_high),
        "robust_interval": _interval(entry.robust_low, entry.robust_high),
        "findings": tuple(json.loads(entry.findings)),
        "old_protocol": entry.badge == Badge.EVALUATED and entry.protocol != _protocol(entry),
    }
    if source is not None:
        copied["best_known_source"] = source
    if entry.anonymous:
        copied |= {"title": entry.model_id, "authors": "", "venue": "", "link": ""}
    return BoardRow.model_validate(copied)


def _ranks(board: Board, entry: type[EntryRow] = EntryRow) -> Subquery:
    """Return the ranks of a whole board by entry, without those that do not rank; an index has them in this order."""
    known = entry.best_known_robust_accuracy.is_not(None)
    rank = case((known, func.rank().over(order_by=ranking(entry))), else_=None)
    return select(entry.model_id, rank.label("rank")).where(ranked(board, entry)).subquery()


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
