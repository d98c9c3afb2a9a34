"""Entries of boards by their place, and what the log of actions calls them."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from benchmark.errors import NotFound
from benchmark.threat_models import Board, official_board
from store.tables import EntryRow

Place = tuple[str, str, str]
"""Data set, threat model and name of an entry."""


def find_entry(session: Session, place: Place, *, locked: bool = False) -> EntryRow:
    """Return an entry, kept from others' changes until the transaction ends where it is to be changed.

    Raises:
        NotFound: there is no such board or entry.
    """
    dataset, threat_model, model_id = place
    board = official_board(dataset, threat_model)
    wanted = select(EntryRow).where(
        EntryRow.dataset == dataset, EntryRow.threat_model == threat_model, EntryRow.model_id == model_id
    )
    entry = session.scalar(wanted.with_for_update() if locked else wanted)
    if entry is None:
        raise model_not_found(board, model_id)
    return entry


def model_not_found(board: Board, model_id: str) -> NotFound:
    """Return the error for an entry that a board does not have."""
    return NotFound.because(
        "model", found=repr(model_id[:80]), expected=f"an entry of {board.name}",
        remedy="choose one from the leaderboard",
    )  # fmt: skip


def entry_of_name(dataset: str, threat_model: str, name: str) -> Select[EntryRow]:
    """Return the query for the entry that bears a name on a board, in whatever case."""
    return select(EntryRow).where(
        EntryRow.dataset == dataset, EntryRow.threat_model == threat_model, same_name(EntryRow.model_id, name)
    )


def same_name(column: InstrumentedAttribute[str], name: str) -> ColumnElement[bool]:
    """Names that differ only in case are one name, or an entry could pass itself off as another; names are ASCII."""
    return func.lower(column) == name.lower()


def subject_of(entry: EntryRow) -> str:
    """Return what the log calls an entry; the name, for numbers are given again once an entry has gone."""
    return f"entry {entry.dataset}/{entry.threat_model}/{entry.model_id}"
