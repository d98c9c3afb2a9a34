"""Everything that is public, line by line and from one moment, however much it is."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import select
from sqlalchemy.orm import Session

from benchmark.report import canonical_json
from benchmark.threat_models import BOARDS, Board
from store.board_filters import of_board
from store.boards import ranked_entries, view_row
from store.database import Database, database_now_ms
from store.tables import EntryHistoryRow, EntryRow, ReportRow
from store.views import HistoryItem

VERSION = 1
AT_ONCE = 200
"""Rows that are in memory at a time."""
REPORTS_AT_ONCE = 10
"""Likewise of reports, which are larger."""


def dump(db: Database) -> Iterator[bytes]:
    """Yield the lines of the dump, each a JSON object that says in ``kind`` what it is.

    First "dump" with version and time; then, board by board, "board", and of each board "entry" in the order of the
    ranking, "history" and "report"; at last "end" with the number of lines before it, so that a part is not taken for
    the whole.
    """
    lines = 0
    with db.snapshot() as session:
        for line in _lines(session):
            lines += 1
            yield line + b"\n"
    yield _line("end", {"lines": lines}) + b"\n"


def _lines(session: Session) -> Iterator[bytes]:
    yield _line("dump", {"version": VERSION, "created_ms": database_now_ms(session)})
    for board in BOARDS:
        yield _line("board", _described(board))
        yield from _entries(session, board)
        yield from _history(session, board)
        yield from _reports(session, board)


def _entries(session: Session, board: Board) -> Iterator[bytes]:
    rows = session.execute(ranked_entries(board), execution_options={"yield_per": AT_ONCE})
    for entry, rank in rows:
        yield _line("entry", _named(board) | view_row(entry, rank).model_dump(mode="json"))
        session.expunge(entry)


def _history(session: Session, board: Board) -> Iterator[bytes]:
    columns = (EntryHistoryRow, EntryRow.model_id)
    query = select(*columns).join(EntryRow, EntryRow.id == EntryHistoryRow.entry_id).order_by(EntryHistoryRow.id)
    found = session.execute(query.where(of_board(board)), execution_options={"yield_per": AT_ONCE})
    for item, model_id in found:
        view = HistoryItem.model_validate({name: getattr(item, name) for name in HistoryItem.model_fields})
        yield _line("history", _named(board) | {"model_id": model_id} | view.model_dump(mode="json"))
        session.expunge(item)


def _reports(session: Session, board: Board) -> Iterator[bytes]:
    columns = (ReportRow.summary, ReportRow.summary_sha256, EntryRow.model_id)
    query = select(*columns).join(EntryRow, EntryRow.report_id == ReportRow.id).order_by(ReportRow.id)
    found = session.execute(query.where(of_board(board)), execution_options={"yield_per": REPORTS_AT_ONCE})
    for summary, sha256, model_id in found:
        before = _line("report", _named(board) | {"model_id": model_id, "sha256": sha256})
        # As it stands: read and written again it might not have its hash any more.
        yield before[:-1] + b',"summary":' + summary + b"}"


def _named(board: Board) -> dict[str, object]:
    return {"dataset": board.dataset, "threat_model": board.threat_model}


def _described(board: Board) -> dict[str, object]:
    epsilon = str(board.epsilon) if board.epsilon is not None else None
    about = {"title": board.title, "epsilon": epsilon, "points": board.points, "protocol": board.protocol}
    return _named(board) | about


def _line(kind: str, fields: dict[str, object]) -> bytes:
    return canonical_json({"kind": kind} | fields)
