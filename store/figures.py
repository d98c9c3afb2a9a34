"""How the service is doing, in numbers: one moment of the database, and the space that blobs take.

Nothing here is text of a submitter's.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import ColumnElement, Double, Select, case, cast, func, select
from sqlalchemy.dialects.postgresql import JSON
from sqlalchemy.orm import Session

from store.blobs import Blobs, LocalBlobs
from store.database import Database, database_now_ms
from store.tables import EntryRow, RunRow, ShardRow, SubmissionRow
from store.views import Badge, Purpose, State, View
from store.workers import WorkerView, view_workers

SHARD_KINDS = ("check", "shard", "judge", "analysis")
SHARD_STATES = ("queued", "running", "done", "failed", "cancelled")
FAULTS = ("model", "service")


class ShardCount(View):
    """How many pieces of work of one kind are in one state."""

    kind: str
    state: str
    count: int


class Figures(View):
    """The service at one moment. Ages are None where there is nothing that could have one."""

    submissions: dict[State, int]
    """How many are in each state."""
    failed: dict[str, int]
    """Submissions that failed, by who is to blame."""
    shards: tuple[ShardCount, ...]
    entries: dict[Badge, int]
    """Rows of the leaderboards, by whose number they show."""
    oldest_queued_s: float | None
    """How long the oldest waiting piece of work has been waiting."""
    oldest_beat_s: float | None
    """Greatest time since a sign of life from whoever holds a piece of work."""
    oldest_progress_s: float | None
    """Greatest time since a piece of work that is held went on."""
    expired_leases: int
    """Pieces of work whose holder has fallen silent and that nobody has taken back yet."""
    failed_attempts: int
    """Attempts that came to nothing and were not simply given back; only ever grows."""
    points_done: float
    """Points with a verdict in all work, finished or not; falls where an attempt is repeated from its last snapshot."""
    forward_passes: float
    backward_passes: float
    workers: tuple[WorkerView, ...]


class Space(View):
    """What blobs take on the file system they lie on, and what is left there."""

    used_bytes: int
    free_bytes: int


def read_figures(db: Database) -> Figures:
    """Return the figures, all of one moment."""
    with db.snapshot() as session:
        now = database_now_ms(session)
        submissions, failed = count_submissions(session)
        work = _work(session)
        beat_at, progress_at, expired = session.execute(_running(now)).one()
        waiting_since = queued_since(session)
        entries = _entries(session)
        workers = view_workers(session)
    return Figures(
        submissions=submissions,
        failed=failed,
        shards=_counts(work),
        entries=entries,
        oldest_queued_s=_seconds_between(waiting_since, now),
        oldest_beat_s=_seconds_between(beat_at, now),
        oldest_progress_s=_seconds_between(progress_at, now),
        expired_leases=expired,
        failed_attempts=sum(part.failed_attempts for part in work),
        points_done=sum(part.points_done for part in work),
        forward_passes=sum(part.forward_passes for part in work),
        backward_passes=sum(part.backward_passes for part in work),
        workers=workers,
    )


def read_space(blobs: Blobs) -> Space | None:
    """Return the space that blobs take; None where they lie in a store that does not tell. Looks at every file."""
    if not isinstance(blobs, LocalBlobs):
        return None
    return Space(used_bytes=sum(_sizes(blobs.root)), free_bytes=shutil.disk_usage(blobs.root).free)


def free_bytes(blobs: Blobs) -> int | None:
    """Return what is left where blobs lie; None where that does not tell. Looks at no file."""
    return shutil.disk_usage(blobs.root).free if isinstance(blobs, LocalBlobs) else None


def _sizes(folder: Path) -> Iterator[int]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _sizes(Path(entry.path))
                continue
            try:
                yield entry.stat(follow_symlinks=False).st_size
            except FileNotFoundError:
                continue  # an upload that ended meanwhile


def count_submissions(session: Session) -> tuple[dict[State, int], dict[str, int]]:
    """Return how many submissions are in each state, and how many of the failed ones through whose fault."""
    states, failed = dict.fromkeys(State, 0), dict.fromkeys(FAULTS, 0)
    rows = session.execute(
        select(SubmissionRow.state, SubmissionRow.fault, func.count()).group_by(
            SubmissionRow.state, SubmissionRow.fault
        )
    )
    for state, fault, count in rows:
        states[State(state)] += count
        if state == State.FAILED and fault in failed:
            failed[fault] += count
    return states, failed


@dataclass(frozen=True)
class _Work:
    """All work of one kind in one state."""

    kind: str
    state: str
    count: int
    failed_attempts: int
    points_done: float
    forward_passes: float
    backward_passes: float


def _work(session: Session) -> list[_Work]:
    # An attempt counts as failed once its lease is gone and the work has not been given back: a claim raises the
    # number of attempts and sets a token, giving back lowers it and takes the token away, failing only takes the token.
    failed_attempts = case((ShardRow.lease_token.is_(None), ShardRow.attempt), else_=ShardRow.attempt - 1)
    rows = session.execute(
        select(
            ShardRow.kind,
            ShardRow.state,
            func.count(),
            func.sum(failed_attempts),
            _total(session, "points_done"),
            _total(session, "forward_passes"),
            _total(session, "backward_passes"),
        ).group_by(ShardRow.kind, ShardRow.state)
    )
    return [_Work(*row) for row in rows]


def _total(session: Session, name: str) -> ColumnElement[float]:
    """Return the sum of a number in all work's progress; as a float, for a child may have claimed anything."""
    if session.get_bind().dialect.name == "postgresql":
        number = cast(ShardRow.progress, JSON)[name].astext
    else:
        number = func.json_extract(ShardRow.progress, f"$.{name}")
    return func.coalesce(func.sum(cast(number, Double)), 0.0)


def _running(now: int) -> Select[int | None, int | None, int]:
    expired = func.coalesce(func.sum(case((ShardRow.lease_until < now, 1), else_=0)), 0)
    running = ShardRow.state == "running"
    return select(func.min(ShardRow.beat_at), func.min(ShardRow.progress_at), expired).where(running)


def queued_since(session: Session) -> int | None:
    """Return when the oldest waiting work began to wait; None where none waits.

    Analyses are to wait for everything else, so they count only where nothing else waits.
    """
    # Work that was queued before the time was noted has 0.
    since = func.coalesce(func.nullif(ShardRow.queued_ms, 0), RunRow.created_ms)
    work = select(func.min(since)).select_from(ShardRow).join(RunRow, RunRow.id == ShardRow.run_id)
    waiting = work.where(ShardRow.state == "queued")
    ranks = session.scalar(waiting.where(RunRow.purpose != Purpose.ANALYSIS))
    return session.scalar(waiting) if ranks is None else ranks


def _entries(session: Session) -> dict[Badge, int]:
    rows = session.execute(select(EntryRow.badge, func.count()).group_by(EntryRow.badge))
    return dict.fromkeys(Badge, 0) | {Badge(badge): count for badge, count in rows}


def _counts(work: Sequence[_Work]) -> tuple[ShardCount, ...]:
    found = {(part.kind, part.state): part.count for part in work}
    return tuple(
        ShardCount(kind=kind, state=state, count=found.get((kind, state), 0))
        for kind in SHARD_KINDS
        for state in SHARD_STATES
    )


def _seconds_between(then_ms: int | None, now_ms: int) -> float | None:
    return None if then_ms is None else max(0, now_ms - then_ms) / 1000
