"""Leases on work: a worker claims a piece, keeps it by signs of life, and can write only while it holds it.

Every write carries the lease's token and is refused once the lease has run out, so a worker that was paused and wakes
up late changes nothing.
"""

from __future__ import annotations

import json
import random
import secrets
import time
from enum import StrEnum
from typing import Literal

from sqlalchemy import ColumnElement, and_, select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from benchmark.analysis.results import Analysis
from store.audit import note
from store.database import Database, database_now_ms, is_lock_conflict, ring_after_commit
from store.errors import StaleClaim
from store.queue import analysis_of, next_work, serve
from store.sources import most_robust_others
from store.states import Fault, lock_submission, move
from store.submission_log import FAILED_ATTEMPT, name_of, presentable
from store.submission_views import as_submitted
from store.submissions import close_run, close_shards
from store.tables import ExternalRow, RunRow, ShardRow, SubmissionRow, WorkerRow
from store.views import ExternalState, NewSubmission, Progress, Purpose, Source, State, View
from store.workers import Worker

MAX_ATTEMPTS = 3
_CLAIM_PATIENCE_S = 5.0
"""How long a claim is tried again while others who claim or change the same submission are in its way."""
_CLAIM_PAUSE_S = (0.002, 0.02)
_BEGINS = {"check": (State.RECEIVED, State.CHECKING), "shard": (State.QUEUED, State.RUNNING)}
"""How the submission's state changes when the first work of a kind begins."""


Kind = Literal["check", "shard", "judge", "analysis"]
"""Kinds of work."""


class Claim(View):
    """A piece of work, held until the lease runs out."""

    kind: Kind
    shard_id: int
    run_id: int
    submission_id: str
    token: str
    attempt: int
    """1 for the first."""
    submission: NewSubmission
    checkpoint_sha256: str
    """The model."""
    norm: str
    epsilon: str
    protocol: str
    seed: int
    purpose: Purpose
    needs_cuda: bool
    first: int
    last: int
    """One past the last point."""
    indices: tuple[int, ...]
    """Positions in the data set of the points that it is about, in their order."""
    resume_sha256: str | None
    """Blob from which to continue what an earlier attempt began."""
    seed_key: str
    """Key of all that is secret of the run; empty where nothing is."""
    sources: tuple[Source, ...]
    """Models whose examples are tried on this one."""
    examples: tuple[Examples, ...]
    """Of a judge: the files that it is to judge."""
    analysis: Analysis | None = None
    """Of an analysis: which one."""


class Examples(View):
    """Files of examples that belong together."""

    x_adv_sha256: str
    second_sha256: str | None = None
    """Those of the second attack."""
    report_sha256: str | None = None
    """The report that says which points they are of; None for examples of others, which are of the run's points."""


class Beat(StrEnum):
    """What a sign of life was answered with."""

    RENEWED = "renewed"
    LOST = "lost"
    """Somebody else may hold the work by now: stop and discard."""
    CANCEL = "cancel"
    """The submission was cancelled: stop and discard."""


def claim(db: Database, worker: Worker, lease_ms: int) -> Claim | None:
    """Claim the next piece of work that the worker can run; None where there is none or it is to claim nothing."""
    give_up_at = time.monotonic() + _CLAIM_PATIENCE_S
    while True:
        try:
            return _claim(db, worker, lease_ms)
        except OperationalError as error:
            if not is_lock_conflict(error):
                raise
            if time.monotonic() > give_up_at:
                return None
            time.sleep(random.uniform(*_CLAIM_PAUSE_S))  # noqa: S311 - only so that two do not meet again


def _claim(db: Database, worker: Worker, lease_ms: int) -> Claim | None:
    with db.transaction() as session:
        known = session.get(WorkerRow, worker.name)
        found = None if known is not None and known.draining else session.execute(next_work(worker)).first()
        if found is None:
            return None
        shard, run, submission = found
        now, token = database_now_ms(session), secrets.token_hex(16)
        shard.state, shard.lease_token, shard.lease_until = "running", token, now + lease_ms
        shard.attempt, shard.worker, shard.beat_at, shard.progress_at = shard.attempt + 1, worker.name, now, now
        session.flush()
        before, after = _BEGINS.get(shard.kind, (None, State.RUNNING))
        if submission.state == before and lock_submission(session, submission.id, wait=False).state == before:
            move(session, submission.id, after)
        serve(session, submission.submitter)
        return Claim(
            kind=_kind(shard),
            shard_id=shard.id,
            run_id=run.id,
            submission_id=submission.id,
            token=token,
            attempt=shard.attempt,
            submission=as_submitted(submission),
            checkpoint_sha256=submission.checkpoint_sha256,
            norm=run.norm,
            epsilon=run.epsilon,
            protocol=run.protocol,
            seed=run.seed,
            purpose=Purpose(run.purpose),
            needs_cuda=run.needs_cuda,
            first=shard.first,
            last=shard.last,
            indices=_indices(run, shard),
            resume_sha256=shard.checkpoint,
            seed_key=run.seed_key,
            sources=_sources(session, submission, run, shard),
            examples=_examples(session, run) if shard.kind == "judge" else (),
            analysis=analysis_of(shard.first) if shard.kind == "analysis" else None,
        )


def _kind(shard: ShardRow) -> Kind:
    match shard.kind:
        case "check" | "shard" | "judge" | "analysis" as kind:
            return kind
        case _:
            raise ValueError(f"no such kind of work: {shard.kind}")


def _indices(run: RunRow, shard: ShardRow) -> tuple[int, ...]:
    if shard.kind == "analysis":
        return tuple(range(run.points))
    if run.indices is None:
        return tuple(range(shard.first, shard.last))
    return tuple(json.loads(run.indices)[shard.first : shard.last])


def _sources(session: Session, submission: SubmissionRow, run: RunRow, shard: ShardRow) -> tuple[Source, ...]:
    """Return the other models that the work needs: of a run those that it was begun with, of an analysis the present
    ones, for it may have waited while others came."""
    if shard.kind == "analysis":
        transfers = analysis_of(shard.first) is Analysis.TRANSFER
        return tuple(most_robust_others(session, submission)) if transfers else ()
    return tuple(Source.model_validate(source) for source in json.loads(run.sources))


def _examples(session: Session, run: RunRow) -> tuple[Examples, ...]:
    """Return the files that a judge of the run is to look at."""
    if run.purpose == Purpose.EXTERNAL:
        sha256 = session.scalars(select(ExternalRow.examples_sha256).where(ExternalRow.run_id == run.id)).one()
        return (Examples(x_adv_sha256=sha256),)
    shards = session.scalars(
        select(ShardRow).where(ShardRow.run_id == run.id, ShardRow.kind == "shard").order_by(ShardRow.first)
    )
    return tuple(
        Examples(
            x_adv_sha256=shard.x_adv_sha256 or "",
            second_sha256=shard.second_sha256,
            report_sha256=shard.report_sha256,
        )
        for shard in shards
    )


def beat(db: Database, claim: Claim, lease_ms: int, progress: Progress | None = None) -> Beat:
    """Renew the lease, note the progress, and learn whether to go on."""
    with db.transaction() as session:
        now = database_now_ms(session)
        shard = session.scalar(select(ShardRow).where(held(claim, now)).with_for_update())
        if shard is None:
            cancelled = session.scalar(
                select(ShardRow.cancel_requested).where(
                    ShardRow.id == claim.shard_id, ShardRow.lease_token == claim.token
                )
            )
            return Beat.CANCEL if cancelled else Beat.LOST
        shard.lease_until, shard.beat_at = now + lease_ms, now
        text = progress.model_dump_json() if progress else shard.progress
        if text != shard.progress:
            shard.progress, shard.progress_at = text, now
        return Beat.RENEWED


def still_held(db: Database, claim: Claim) -> bool:
    """Tell whether the lease still holds, without renewing it: a cancellation ends it too.

    Only a read, so that it may be asked every second.
    """
    with db.snapshot() as session:
        held_by_us = select(ShardRow.id).where(held(claim, database_now_ms(session)))
        return session.scalar(held_by_us) is not None


def save_checkpoint(db: Database, claim: Claim, blob_sha256: str) -> None:
    """Remember a blob from which the next attempt continues.

    Raises:
        StaleClaim: the lease is no longer held.
    """
    with db.transaction() as session:
        write_held(session, claim, checkpoint=blob_sha256)


def release(db: Database, claim: Claim) -> None:
    """Give unfinished work back without counting the attempt, as at an orderly shutdown.

    Raises:
        StaleClaim: the lease is no longer held.
    """
    with db.transaction() as session:
        _put_back(session, claim, attempt=claim.attempt - 1)


def release_worker(db: Database, worker: str) -> int:
    """Queue again what a worker of that name held before it was killed; the attempts count.

    Only for a worker that knows it is the only one of its name.

    Returns:
        Number of pieces of work.
    """
    its_own = (ShardRow.worker == worker, ShardRow.state == "running", ShardRow.attempt < MAX_ATTEMPTS)
    with db.transaction() as session:
        runs = select(ShardRow.run_id).where(*its_own)
        submissions = select(RunRow.submission_id).where(RunRow.id.in_(runs)).distinct().order_by(RunRow.submission_id)
        for submission_id in session.scalars(submissions).all():
            lock_submission(session, submission_id)
        released = session.scalars(
            update(ShardRow)
            .where(*its_own)
            .values(state="queued", queued_ms=database_now_ms(session), lease_token=None, lease_until=None)
            .returning(ShardRow.id)
            .execution_options(synchronize_session=False)
        ).all()
        for shard_id in released:
            ring_after_commit(session, shard_id)
        return len(released)


def fail_attempt(db: Database, claim: Claim, reason: str, fault: Fault) -> None:
    """Report an attempt that came to nothing.

    A fault of the service is tried again, up to three attempts in all; a fault of the model would only repeat itself
    and ends the run at once.

    Raises:
        StaleClaim: the lease is no longer held.
    """
    with db.transaction() as session:
        if fault == "model" or claim.attempt >= MAX_ATTEMPTS:
            lock_submission(session, claim.submission_id)
            write_held(session, claim, state="failed", lease_token=None, lease_until=None)
            give_up_piece(session, claim.run_id, reason, fault)
        else:
            _put_back(session, claim)
            note(
                session,
                None,
                FAILED_ATTEMPT,
                f"submission {claim.submission_id}",
                attempt=str(claim.attempt),
                piece=name_of(claim.kind, claim.first, claim.last),
                reason=presentable(reason),
            )


def give_up_piece(session: Session, run_id: int, reason: str, fault: Fault) -> str | None:
    """Do what follows from a piece of work that has failed for good: the run fails, but for the other analyses.

    Returns:
        As `fail_run`.
    """
    if session.get_one(RunRow, run_id).purpose == Purpose.ANALYSIS:
        conclude_where_done(session, run_id)
        return None
    return fail_run(session, run_id, reason, fault)


def conclude_where_done(session: Session, run_id: int) -> None:
    """Say that nothing more comes of a run, where no piece of it waits or runs; the submission is locked."""
    session.flush()
    left = select(ShardRow.id).where(ShardRow.run_id == run_id, ShardRow.state.in_(("queued", "running")))
    if session.scalar(left.limit(1)) is None:
        session.get_one(RunRow, run_id).concluded = True


def fail_run(session: Session, run_id: int, reason: str, fault: Fault) -> str | None:
    """Give a run up, and with it the submission that was to be ranked by it.

    Returns:
        The submission's id; None for all but ranking runs, which their published entry survives.
    """
    run = session.get_one(RunRow, run_id)
    if run.purpose != Purpose.RANKING:
        close_run(session, run_id, "failed")
        if run.purpose == Purpose.EXTERNAL:
            external = session.scalars(select(ExternalRow).where(ExternalRow.run_id == run_id)).one()
            external.state, external.reason = ExternalState.FAILED, reason
            external.concluded_ms = database_now_ms(session)
        return None
    fail_submission(session, run.submission_id, reason, fault)
    return run.submission_id


def fail_submission(session: Session, submission_id: str, reason: str, fault: Fault, *, by: str | None = None) -> None:
    """End a submission as failed, and all its unfinished work with it; `by` is the account that does so, if any."""
    move(session, submission_id, State.FAILED, reason=reason, fault=fault, by=by)
    close_shards(session, submission_id, "failed")


def _put_back(session: Session, claim: Claim, **values: int) -> None:
    now = database_now_ms(session)
    write_held(session, claim, state="queued", queued_ms=now, lease_token=None, lease_until=None, **values)
    ring_after_commit(session, claim.shard_id)


def held(claim: Claim, now: int) -> ColumnElement[bool]:
    """Return the condition that a claim's lease still holds; every write of a worker carries it."""
    return and_(
        ShardRow.id == claim.shard_id,
        ShardRow.state == "running",
        ShardRow.lease_token == claim.token,
        ShardRow.lease_until >= now,
    )


def write_held(session: Session, claim: Claim, **values: str | int | None) -> None:
    """Update the claimed work if, and only if, the lease still holds.

    Raises:
        StaleClaim: it does not.
    """
    changed = session.execute(
        update(ShardRow)
        .where(held(claim, database_now_ms(session)))
        .values(**values)
        .returning(ShardRow.id)
        .execution_options(synchronize_session=False)
    ).all()
    if not changed:
        raise StaleClaim(f"The lease on work {claim.shard_id} has run out or was taken; the result is discarded.")
