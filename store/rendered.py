"""Answers that were rendered once and are given again for as long as what they show has not changed."""

from __future__ import annotations

import gzip
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from threading import Lock

from sqlalchemy import bindparam, func, select

from store.database import Database
from store.states import UNDER_WAY
from store.tables import EntryRow, SubmissionRow

MOST_BYTES = 64 * 1024 * 1024
"""What all answers together may take."""
_GZIP_LEVEL = 6
KEEPING_BYTES = 8 * 1024
"""About what keeping an answer takes besides its bytes; or many short ones would take much more than they may."""


@dataclass(frozen=True)
class Standing:
    """What tells one state of a board from another. Two that are equal show the same entries.

    Args:
        entries: how many there are.
        changes: how often they were changed, all together.
        latest: the greatest of their numbers; one that is deleted and another that comes do not add up to nothing.
        under_way: submissions on their way to the board.
    """

    entries: int
    changes: int
    latest: int
    under_way: int


@dataclass(frozen=True)
class Answer:
    """An answer in both forms that it may be given in.

    Args:
        plain: the bytes.
        packed: the same bytes compressed by gzip.
        etag: weak, for it stands for both forms.
        count: of how many rows it is a part; 0 where it is of none.
        lasting: whether it is worth keeping: it lacks nothing that may be had a moment later.
    """

    plain: bytes
    packed: bytes
    etag: str
    count: int = 0
    lasting: bool = True

    def is_known(self, known: str | None) -> bool:
        """Tell whether the reader has it already.

        Args:
            known: the marks of what they have, separated by commas, as in If-None-Match; None where they have nothing.
        """
        return known is not None and (known.strip() == "*" or self.etag in {mark.strip() for mark in known.split(",")})


def answer_of(content: bytes, count: int = 0, *, lasting: bool = True) -> Answer:
    """Return the answer that has this content, which is part of so many rows and may lack something for now."""
    digest = hashlib.sha256(content).hexdigest()[:32]
    return Answer(content, gzip.compress(content, _GZIP_LEVEL, mtime=0), f'W/"{digest}"', count, lasting)


_UNDER_WAY = (
    select(func.count())
    .select_from(SubmissionRow)
    .where(
        SubmissionRow.dataset == bindparam("dataset"),
        SubmissionRow.threat_model == bindparam("threat_model"),
        SubmissionRow.state.in_(UNDER_WAY),
    )
    .scalar_subquery()
)
_STANDING = select(
    func.count(EntryRow.id),
    func.coalesce(func.sum(EntryRow.revision), 0),
    func.coalesce(func.max(EntryRow.id), 0),
    _UNDER_WAY,
).where(EntryRow.dataset == bindparam("dataset"), EntryRow.threat_model == bindparam("threat_model"))
"""Built once: building it takes longer than answering it."""


def standing_of(db: Database, dataset: str, threat_model: str) -> Standing:
    """Return where a board stands now: one query that an index answers."""
    with db.engine.connect() as connection:
        found = connection.execute(_STANDING, {"dataset": dataset, "threat_model": threat_model}).one()
    return Standing(*found)


class Rendered:
    """The answers of one process, those used longest ago making room for new ones.

    Only what everybody gets may be kept here, never what was rendered for somebody in particular.

    Args:
        most_bytes: what all answers together may take.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._kept: OrderedDict[Hashable, tuple[object, Answer]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable, standing: object, make: Callable[[], bytes | Answer]) -> Answer:
        """Return the answer, made anew where the board has changed since.

        Args:
            key: what is asked for: the board, the view of it, and the form.
            standing: where the board stands, and whatever else the answer shows, found out before `make` looks at it;
                so an answer may be newer than what it is kept under, and is then made once more than need be, but never
                older.
            make: renders the answer, or its bytes where there is no more to it.
        """
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None and kept[0] == standing:
                self._kept.move_to_end(key)
                return kept[1]
        made = make()
        answer = made if isinstance(made, Answer) else answer_of(made)
        with self._lock:
            self._forget(key)
            if answer.lasting:
                self._kept[key] = (standing, answer)
                self._bytes += _size(answer)
            while self._bytes > self._most_bytes and self._kept:
                self._forget(next(iter(self._kept)))
        return answer

    def _forget(self, key: Hashable) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._bytes -= _size(kept[1])


def _size(answer: Answer) -> int:
    return len(answer.plain) + len(answer.packed) + KEEPING_BYTES
