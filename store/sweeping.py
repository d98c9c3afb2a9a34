"""What nobody holds any more: leases that ran out, submissions that stand still, work that no bell was heard for."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Select, and_, literal, select, union_all, update
from sqlalchemy.exc import IntegrityError

from store.blobs import Blobs
from store.claims import MAX_ATTEMPTS, fail_submission, give_up_piece
from store.database import Database, database_now_ms
from store.endings import warn_of_ends
from store.moderation import reveal_due
from store.publication import reduce_run
from store.queue import queue_again
from store.states import OPEN, lock_submission
from store.tables import LeaseRow, RunRow, ShardRow, SubmissionRow
from store.unused_uploads import discard_unused
from store.unverified import remove_expired
from store.views import Approval, Purpose, State

DISPATCHER = "dispatcher"
SWEEPER = "sweeper"
SENDER = "sender"
RING_AGAIN_MS = 5_000
"""Time after which a bell for queued work counts as lost, and between two looks for such work."""
RUNG_AT_ONCE = 256
"""Most pieces of work that a sweep rings for; the oldest come first."""
STALE_UPLOAD_S = 24 * 3600.0
"""Time without a byte after which an upload counts as broken off; what a killed service left behind ends so."""


@dataclass(frozen=True)
class Swept:
    """What a sweep did.

    Args:
        requeued: pieces of work whose lease had run out and that anybody may claim again.
        failed: submissions that were given up.
        published: submissions whose run only needed its shards merged.
        ended: unverified entries whose time was over.
        revealed: anonymous submissions whose day had come.
    """

    requeued: tuple[int, ...]
    failed: tuple[str, ...]
    published: tuple[str, ...]
    ended: tuple[str, ...] = ()
    revealed: tuple[str, ...] = ()


def sweep(db: Database, blobs: Blobs) -> Swept:
    """Put expired work back, give up what failed three times or cannot go on, merge runs that are complete.

    What is about to end is told of, what has ended is removed, as are uploads that nobody uses, and names whose day has
    come are revealed.

    Each finding is a transaction of its own, so that nothing waits long for a sweep and none holds up the others.
    """
    blobs.discard_stale(STALE_UPLOAD_S)
    discard_unused(db, blobs)
    requeued: list[int] = []
    failed: list[str] = []
    for shard_id, submission_id in _expired(db):
        again, given_up = _expire(db, shard_id, submission_id)
        requeued += again
        failed += given_up
    failed += [submission_id for submission_id in _stuck(db) if _give_up(db, submission_id)]
    published = [submission_id for run, submission_id in _complete(db) if reduce_run(db, blobs, run) is State.PUBLISHED]
    warn_of_ends(db)
    return Swept(tuple(requeued), tuple(failed), tuple(published), remove_expired(db), reveal_due(db))


def elect(db: Database, role: str, holder: str, lease_ms: int) -> bool:
    """Try to get, or keep, a role that one process has at a time; tell whether ``holder`` has it for ``lease_ms``."""
    with db.transaction() as session:
        now = database_now_ms(session)
        lease = session.get(LeaseRow, role, with_for_update=True)
        if lease is None:
            try:
                with session.begin_nested():
                    session.add(LeaseRow(name=role, holder=holder, until_ms=now + lease_ms))
            except IntegrityError:
                return False  # another process was first
            return True
        if lease.holder != holder and lease.until_ms >= now:
            return False
        lease.holder, lease.until_ms = holder, now + lease_ms
        return True


def resign(db: Database, role: str, holder: str) -> None:
    """Give a role back, so that a successor need not wait for the lease to run out."""
    with db.transaction() as session:
        session.execute(update(LeaseRow).where(LeaseRow.name == role, LeaseRow.holder == holder).values(until_ms=0))


def is_held(db: Database, role: str) -> bool:
    """Tell whether some process has the role and has renewed it in time."""
    with db.snapshot() as session:
        lease = session.get(LeaseRow, role)
        return lease is not None and lease.until_ms >= database_now_ms(session)


def _expired(db: Database) -> list[tuple[int, str]]:
    """Return the pieces of work whose lease has run out, with their submissions."""
    with db.snapshot() as session:
        found = session.execute(
            select(ShardRow.id, RunRow.submission_id)
            .join(RunRow, RunRow.id == ShardRow.run_id)
            .where(ShardRow.state == "running", ShardRow.lease_until < database_now_ms(session))
            .order_by(ShardRow.id)
        )
        return [(shard_id, submission_id) for shard_id, submission_id in found]


def _expire(db: Database, shard_id: int, submission_id: str) -> tuple[list[int], list[str]]:
    """Put one piece of work back or give its run up, unless its worker has shown life after all."""
    with db.transaction() as session:
        lock_submission(session, submission_id)
        now = database_now_ms(session)
        shard = session.scalar(
            select(ShardRow)
            .where(ShardRow.id == shard_id, ShardRow.state == "running", ShardRow.lease_until < now)
            .with_for_update()
        )
        if shard is None:
            return [], []
        if shard.attempt < MAX_ATTEMPTS:
            queue_again(session, shard)
            return [shard_id], []
        shard.state, shard.lease_token, shard.lease_until = "failed", None, None
        session.flush()
        reason = f"the evaluation broke off {MAX_ATTEMPTS} times without an answer"
        failed = give_up_piece(session, shard.run_id, reason, "service")
        return [], [failed] if failed is not None else []


def _stuck(db: Database) -> list[str]:
    """Return open submissions that have neither unfinished work nor a complete run."""
    with db.snapshot() as session:
        complete = [submission_id for _, submission_id in session.execute(_complete_runs())]
        return list(session.scalars(_without_work().where(SubmissionRow.id.not_in(complete))))


def _give_up(db: Database, submission_id: str) -> bool:
    """Give one of them up, unless it has gone on after all."""
    with db.transaction() as session:
        # Nobody can queue work for it now, so what is found in this order holds until the end.
        lock_submission(session, submission_id)
        still = session.scalar(_without_work().where(SubmissionRow.id == submission_id)) is not None
        if not still or session.execute(_complete_runs().where(RunRow.submission_id == submission_id)).first():
            return False
        fail_submission(session, submission_id, "the work on it was lost", "service")
        return True


def _without_work() -> Select[str]:
    # All unfinished work is looked up once; asked for every submission anew, SQLite goes through all of it each time.
    working = (
        select(RunRow.submission_id)
        .join(ShardRow, ShardRow.run_id == RunRow.id)
        .where(ShardRow.state.in_(("queued", "running")))
    )
    # What waits for a maintainer has no work left, and stands still for as long as it takes.
    rests = and_(SubmissionRow.state == State.EVALUATED, SubmissionRow.approval == Approval.PENDING)
    return select(SubmissionRow.id).where(SubmissionRow.state.in_(OPEN), ~rests, SubmissionRow.id.not_in(working))


def _complete(db: Database) -> list[tuple[int, str]]:
    with db.snapshot() as session:
        return [(run_id, submission_id) for run_id, submission_id in session.execute(_complete_runs())]


def _complete_runs() -> Select[int, str]:
    """Return the query for runs, with their submissions, whose work is done and of which something is still to come."""
    work = select(ShardRow.id).where(ShardRow.run_id == RunRow.id, ShardRow.kind != "check")
    # Written out, so that the planner sees that the index of open looks holds all that is asked for; found separately,
    # because a query for either would look at every run there ever was.
    ranking = literal(Purpose.RANKING.value, literal_execute=True)
    published = select(SubmissionRow.id).where(
        SubmissionRow.id == RunRow.submission_id, SubmissionRow.state == State.PUBLISHED
    )
    candidates = union_all(
        select(RunRow.id)
        .join(SubmissionRow, SubmissionRow.id == RunRow.submission_id)
        .where(RunRow.purpose == Purpose.RANKING, SubmissionRow.state == State.RUNNING),
        select(RunRow.id).where(RunRow.purpose != ranking, ~RunRow.concluded, published.exists()),
    )
    return select(RunRow.id, RunRow.submission_id).where(
        RunRow.id.in_(candidates), work.exists(), ~work.where(ShardRow.state != "done").exists()
    )


def ring_again(db: Database) -> None:
    """Ring for queued work that nobody has come for: the message may be lost, or the worker that heard it."""
    with db.snapshot() as session:
        overdue = (
            select(ShardRow.id)
            .where(ShardRow.state == "queued", ShardRow.queued_ms < database_now_ms(session) - RING_AGAIN_MS)
            .order_by(ShardRow.queued_ms, ShardRow.id)
            .limit(RUNG_AT_ONCE)
        )
        shard_ids = session.scalars(overdue).all()
    if shard_ids:
        db.doorbell.ring(shard_ids)
