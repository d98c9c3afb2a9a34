"""A board as it stood at a moment of the past.

Of entries evaluated here the history says what was known of them, and since when. Of reported entries it says only
since when the service knows them: their numbers are the present ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import and_, case, func, or_, select
from sqlalchemy.orm import Session, aliased

from benchmark.errors import InvalidInput
from benchmark.threat_models import Board
from store.board_filters import of_board
from store.tables import EntryHistoryRow, EntryRow
from store.views import Badge


def read_moment(text: str) -> int:
    """Return the milliseconds since 1970 of a date, which means its end, or a date-time; UTC where it does not say.

    Raises:
        InvalidInput: it is neither.
    """
    try:
        if len(text) == 10:
            end = datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC) + timedelta(days=1)
            moment, last = end, 1
        else:
            read = datetime.fromisoformat(text)
            moment, last = (read if read.tzinfo else read.replace(tzinfo=UTC)), 0
        milliseconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1) - last
    except (ValueError, OverflowError):
        milliseconds = -1
    if milliseconds < 0:
        raise InvalidInput.because(
            "as_of",
            found=ascii(text)[:80],
            expected="a date or date-time from 1970 on, such as 2026-03-01 or 2026-03-01T12:00:00Z",
            remedy="write it so, with every + in an address as %2B, or leave as_of out",
        )
    return milliseconds


def entries_at(board: Board, at_ms: int) -> type[EntryRow]:
    """Return what stands for the entries of a board in a query, with the numbers of that moment."""
    item = aliased(EntryHistoryRow)
    of_the_board = select(EntryRow.id).where(of_board(board))
    known = (
        select(EntryHistoryRow.entry_id, func.max(EntryHistoryRow.id).label("last"))
        .where(EntryHistoryRow.recorded_ms <= at_ms, EntryHistoryRow.entry_id.in_(of_the_board))
        .group_by(EntryHistoryRow.entry_id)
        .subquery()
    )
    measured = and_(EntryRow.badge == Badge.EVALUATED, item.id.is_not(None))
    then = {
        "standard_accuracy": case((measured, item.standard_accuracy), else_=EntryRow.standard_accuracy),
        "best_known_robust_accuracy": case((measured, item.robust_accuracy), else_=EntryRow.best_known_robust_accuracy),
    }
    columns = [then.get(column.name, column).label(column.name) for column in EntryRow.__table__.columns]
    there = or_(EntryRow.published_ms <= at_ms, and_(EntryRow.published_ms.is_(None), known.c.last.is_not(None)))
    query = (
        select(*columns)
        .outerjoin(known, known.c.entry_id == EntryRow.id)
        .outerjoin(item, item.id == known.c.last)
        .where(of_board(board), there)
    )
    return aliased(EntryRow, query.subquery(), adapt_on_names=True)


def sources_at(session: Session, entries: Sequence[EntryRow], at_ms: int) -> dict[int, str]:
    """Return whose evaluations the best known values of entries evaluated here were made of at that moment."""
    ids = [entry.id for entry in entries if entry.badge == Badge.EVALUATED]
    found: dict[int, list[str]] = {}
    for item in session.scalars(
        select(EntryHistoryRow)
        .where(EntryHistoryRow.entry_id.in_(ids), EntryHistoryRow.recorded_ms <= at_ms)
        .order_by(EntryHistoryRow.id)
    ):
        # The first is the entry's own evaluation; of the others those count that broke a point first.
        if item.entry_id not in found or item.newly_broken:
            found.setdefault(item.entry_id, []).append(item.source)
    return {entry_id: " + ".join(sources) for entry_id, sources in found.items()}
