"""What nobody holds any more: leases that ran out, and submissions that stand still."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from store.blobs import Blobs
from store.claims import MAX_ATTEMPTS, fail_submission
from store.database import Database, database_now_ms
from store.publication import reduce_run
from store.states import OPEN
from store.tables import LeaseRow, RunRow, ShardRow, SubmissionRow
from store.views import State

DISPATCHER = "dispatcher"
STALE_UPLOAD_S = 24 * 3600.0
"""Time without a byte after which an upload counts as broken off; what a killed service left behind ends so."""


@dataclass(frozen=True)
class Swept:
    """What a sweep did.

    Args:
        requeued: pieces of work whose lease had run out and that anybody may claim again.
        failed: submissions that were given up.
        published: submissions whose run only needed its shards merged.
    """

    requeued: tuple[int, ...]
    failed: tuple[str, ...]
    published: tuple[str, ...]


def sweep(db: Database, blobs: Blobs) -> Swept:
    """Put expired work back, give up what failed three times or cannot go on, and merge runs that are complete."""
    blobs.discard_stale(STALE_UPLOAD_S)
    with db.transaction() as session:
        requeued, given_up = _expire(session)
        stuck = _stuck(session)
        complete = _complete(session)
    published = [submission for run, submission in complete if reduce_run(db, blobs, run) is State.PUBLISHED]
    return Swept(requeued, (*given_up, *stuck), tuple(published))


def elect_dispatcher(db: Database, holder: str, lease_ms: int) -> bool:
    """Try to become, or stay, the one dispatcher; tell whether ``holder`` is it for the next ``lease_ms``."""
    with db.transaction() as session:
        now = database_now_ms(session)
        lease = session.get(LeaseRow, DISPATCHER, with_for_update=True)
        if lease is None:
            try:
                with session.begin_nested():
                    session.add(LeaseRow(name=DISPATCHER, holder=holder, until_ms=now + lease_ms))
            except IntegrityError:
                return False  # another process was first
            return True
        if lease.holder != holder and lease.until_ms >= now:
            return False
        lease.holder, lease.until_ms = holder, now + lease_ms
        return True


def resign_dispatcher(db: Database, holder: str) -> None:
    """Give the dispatcher's role back, so that a successor need not wait for the lease to run out."""
    with db.transaction() as session:
        session.execute(
            update(LeaseRow).where(LeaseRow.name == DISPATCHER, LeaseRow.holder == holder).values(until_ms=0)
        )


def _expire(session: Session) -> tuple[tuple[int, ...], tuple[str, ...]]:
    now = database_now_ms(session)
    expired = session.scalars(
        select(ShardRow)
        .where(ShardRow.state == "running", ShardRow.lease_until < now)
        .with_for_update(skip_locked=True)
    ).all()
    requeued: list[int] = []
    failed: list[str] = []
    for shard in expired:
        shard.lease_token = shard.lease_until = None
        if shard.attempt < MAX_ATTEMPTS:
            shard.state = "queued"
            requeued.append(shard.id)
            continue
        shard.state = "failed"
        session.flush()
        submission = session.get_one(SubmissionRow, session.get_one(RunRow, shard.run_id).submission_id)
        if submission.id not in failed:
            reason = f"the evaluation broke off {MAX_ATTEMPTS} times without an answer"
            fail_submission(session, submission.id, reason, "service")
            failed.append(submission.id)
    session.flush()
    return tuple(requeued), tuple(failed)


def _stuck(session: Session) -> tuple[str, ...]:
    """Give up open submissions that have neither unfinished work nor a complete run."""
    unfinished = (
        select(ShardRow.id)
        .join(RunRow, RunRow.id == ShardRow.run_id)
        .where(RunRow.submission_id == SubmissionRow.id, ShardRow.state.in_(("queued", "running")))
    )
    complete = [submission for _, submission in _complete(session)]
    stuck = session.scalars(
        select(SubmissionRow.id).where(
            SubmissionRow.state.in_(OPEN), ~unfinished.exists(), SubmissionRow.id.not_in(complete)
        )
    ).all()
    for submission_id in stuck:
        fail_submission(session, submission_id, "the work on it was lost", "service")
    return tuple(stuck)


def _complete(session: Session) -> list[tuple[int, str]]:
    """Return the runs, with their submissions, that are running though every shard is done."""
    shards = select(ShardRow.id).where(ShardRow.run_id == RunRow.id, ShardRow.kind == "shard")
    rows = session.execute(
        select(RunRow.id, RunRow.submission_id)
        .join(SubmissionRow, SubmissionRow.id == RunRow.submission_id)
        .where(
            SubmissionRow.state == State.RUNNING,
            shards.exists(),
            ~shards.where(ShardRow.state != "done").exists(),
        )
    )
    return [(run_id, submission_id) for run_id, submission_id in rows]
