"""Which entries of a board cannot be told apart from a better one by what is known of each single point."""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from benchmark.errors import NotFound
from benchmark.report import canonical_json
from benchmark.statistics import McNemar, holm
from benchmark.threat_models import Board
from store.blobs import Blobs
from store.board_filters import in_order, ranked
from store.errors import StorageFull, StorageUnavailable
from store.tables import EntryRow, ReportRow
from store.views import Badge

LEVEL = 0.05
"""Chance of telling apart even one entry of a group that is as robust as its best."""
MOST_COMPARED = 500
"""Entries of a board that are compared, the best ranked: the time it takes grows with the square of their number."""
MOST_BYTES = 16 * 1024 * 1024
"""What the verdicts that a process keeps may take together."""
KEEPING_BYTES = 512
"""About what keeping those of an entry takes besides their bits."""
_UNREADABLE = (NotFound, OSError, EOFError, ValueError, zlib.error)


@dataclass(frozen=True)
class Packed:
    """The verdicts on the points of an entry.

    Args:
        points: hash of which points they are, in their order.
        robust: one bit a point, set where it is robust.
    """

    points: bytes
    robust: int


@dataclass(frozen=True)
class Compared:
    """An entry that is compared with others of its board.

    Args:
        model_id: the entry's.
        points_sha256: blob of its worst case so far, point by point.
    """

    model_id: str
    points_sha256: str


class KnownVerdicts:
    """The verdicts that a process has read, packed, those used longest ago making room for others.

    A blob never changes, so what is kept is never wrong.

    Args:
        blobs: where they lie, point by point.
        most_bytes: what those that are kept may take together.
    """

    def __init__(self, blobs: Blobs, most_bytes: int = MOST_BYTES) -> None:
        self._blobs = blobs
        self._most_bytes = most_bytes
        self._bytes = 0
        self._kept: OrderedDict[str, Packed] = OrderedDict()
        self._lock = Lock()

    @property
    def kept(self) -> int:
        """How many there are."""
        return len(self._kept)

    def read(self, sha256: str) -> Packed | None:
        """Return the verdicts of a blob; None where it is lost or damaged.

        Raises:
            StorageUnavailable: the store cannot be reached.
            StorageFull: there is no room for what it would send.
        """
        with self._lock:
            packed = self._kept.get(sha256)
            if packed is not None:
                self._kept.move_to_end(sha256)
                return packed
        try:
            packed = pack(self._blobs.read(sha256))
        except _UNREADABLE:
            return None
        with self._lock:
            if sha256 not in self._kept:
                self._kept[sha256] = packed
                self._bytes += _size(packed)
            while self._bytes > self._most_bytes:
                _, forgotten = self._kept.popitem(last=False)
                self._bytes -= _size(forgotten)
        return packed


def pack(points: bytes) -> Packed:
    """Pack the verdicts of points as `Points.to_bytes` wrote them; they were checked before that.

    Raises:
        OSError, EOFError, ValueError, zlib.error: they are damaged.
    """
    content = json.loads(gzip.decompress(points))
    which = hashlib.sha256(canonical_json([content["index"], content["label"]])).digest()
    return Packed(which, int("".join("1" if one else "0" for one in content["robust"]), 2))


def compared_entries(session: Session, board: Board) -> tuple[Compared, ...]:
    """Return the entries of a board that can be compared, in the order of the ranking.

    These are the ones that were evaluated here and rank. On boards where nobody attacks there are none: there it is
    not one verdict on each point that ranks, but how many of many answers about it are right.
    """
    if not board.attacked:
        return ()
    points = func.coalesce(EntryRow.best_known_sha256, ReportRow.points_sha256)
    query = (
        select(EntryRow.model_id, points)
        .join(ReportRow, ReportRow.id == EntryRow.report_id)
        .where(ranked(board), EntryRow.badge == Badge.EVALUATED, EntryRow.best_known_robust_accuracy.is_not(None))
        .order_by(*in_order(EntryRow))
        .limit(MOST_COMPARED)
    )
    return tuple(Compared(model_id, sha256) for model_id, sha256 in session.execute(query))


def find_ties(entries: Sequence[Compared], verdicts: KnownVerdicts) -> dict[str, str] | None:
    """Return by entry the best of its group, from which it cannot be told apart; None where that is unknown now.

    The best of all begins a group. Every entry after it is tested against it, and those that are not told apart belong
    to the group; the best of the others begins the next one.

    Args:
        entries: the best ranked first.
        verdicts: where the verdicts are read; an entry whose own are lost is left out.
    """
    try:
        read = [(entry.model_id, verdicts.read(entry.points_sha256)) for entry in entries]
    except (StorageUnavailable, StorageFull):
        return None
    known = [(model_id, packed) for model_id, packed in read if packed is not None]
    leaders = best_of_groups(tuple(packed for _, packed in known))
    return {
        model_id: known[leader][0] for (model_id, _), leader in zip(known, leaders, strict=True) if leader is not None
    }


@lru_cache(maxsize=32)
def best_of_groups(entries: tuple[Packed, ...]) -> tuple[int | None, ...]:
    """Return for each entry the place of the best of its group; None for those that are the best of theirs.

    Args:
        entries: the best ranked first.
    """
    leaders: list[int | None] = [None] * len(entries)
    left = list(range(len(entries)))
    while left:
        first, others = left[0], left[1:]
        comparable = [number for number in others if entries[number].points == entries[first].points]
        alike = set(_alike(entries[first], comparable, entries))
        for number in alike:
            leaders[number] = first
        left = [number for number in others if number not in alike]
    return tuple(leaders)


def _alike(best: Packed, numbers: Sequence[int], entries: Sequence[Packed]) -> list[int]:
    p_values = holm([_p_value(best, entries[number], len(numbers)) for number in numbers])
    return [number for number, p_value in zip(numbers, p_values, strict=True) if p_value > LEVEL]


def _p_value(a: Packed, b: Packed, tests: int) -> float:
    """Return the p-value of McNemar's exact test, or a bound above it where that is small enough to be certain.

    What stays below the level though it is multiplied by the number of tests is found by Holm's procedure wherever it
    stands among the others. So its exact value, which takes long where many points differ, does not matter. The bound
    is Hoeffding's (1963), for both tails.
    """
    both = (a.robust & b.robust).bit_count()
    only_a, only_b = a.robust.bit_count() - both, b.robust.bit_count() - both
    if only_a == only_b:
        return 1.0
    bound = 2 * math.exp(-((only_a - only_b) ** 2) / (2 * (only_a + only_b)))
    return bound if tests * bound <= LEVEL else _exact(min(only_a, only_b), max(only_a, only_b))


@lru_cache(maxsize=100_000)
def _exact(fewer: int, more: int) -> float:
    return McNemar(both=0, only_a=fewer, only_b=more, neither=0).p_value


def _size(packed: Packed) -> int:
    return packed.robust.bit_length() // 8 + KEEPING_BYTES
