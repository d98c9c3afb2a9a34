"""What maintainers look at before they step in: the queue, who works, how long work waits, and what has failed."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from store.actors import Actor, require_maintainer
from store.blobs import Blobs
from store.database import Database, database_now_ms
from store.figures import count_submissions, free_bytes, queued_since
from store.intervention import REVIVED
from store.queue import Piece, can_run, read_pieces
from store.states import submission_not_found
from store.submission_views import view_submissions
from store.tables import RunRow, ShardRow, SubmissionRow
from store.views import Purpose, State, SubmissionView, View
from store.workers import WorkerView, view_workers

MOST_PIECES = 300
"""Most pieces of work that are shown; all of them are counted."""
MOST_FAILED = 50
SILENT_AFTER_MS = 120_000
"""Time without a sign of life after which a worker is taken to be lost, though it may come back."""
LONG_MS = 12 * 3600 * 1000
"""Time after which work has waited too long though all workers are busy, see docs/capacity.md."""


class Standing(StrEnum):
    """Whether the queue is well, or what is wrong with it."""

    EMPTY = "empty"
    """Nothing waits."""
    FINE = "fine"
    """What waits is waited for."""
    LONG = "long"
    """Work is being done, and the oldest waits for longer than it should."""
    UNFIT = "unfit"
    """Some work waits that no worker can run which claims any."""
    IDLE = "idle"
    """Work waits, and no worker claims any."""


class Kin(View):
    """Waiting work that the same workers can run."""

    dataset: str
    threat_model: str
    needs_cuda: bool
    pieces: int


class FailedRun(View):
    """A closer look, or examples by others, that has failed and can go on."""

    shard_id: int
    """A piece of it that has failed."""
    submission_id: str
    name: str
    dataset: str
    threat_model: str
    purpose: Purpose
    attempt: int
    queued_ms: int


class QueueView(View):
    """The queue at one moment, and what maintainers need to judge it."""

    standing: Standing
    oldest_waiting_ms: int | None
    """How long the oldest waiting piece of work has been waiting; None where nothing waits."""
    running: int
    """Pieces of work that somebody holds."""
    queued: int
    """Pieces of work that wait."""
    pieces: tuple[Piece, ...]
    """First those that run, then those that wait, roughly in the order in which they are claimed."""
    unfit: tuple[Kin, ...]
    """What no worker can run that claims work now."""
    workers: tuple[WorkerView, ...]
    submissions: dict[State, int]
    """How many are in each state."""
    failed_submissions: tuple[SubmissionView, ...]
    """Those that have failed through the service, the last first."""
    failed_runs: tuple[FailedRun, ...]
    """The last first."""
    free_bytes: int | None
    """What is left where files lie; None where that does not tell."""


class WorkView(View):
    """A submission and the work on it, for whoever steps in."""

    submission: SubmissionView
    pieces: tuple[Piece, ...]
    priority: int
    """Of its latest run."""


def view_work_queue(db: Database, blobs: Blobs, who: Actor) -> QueueView:
    """Return the queue with everything that maintainers judge it by.

    Raises:
        SignInNeeded: they must say who they are.
        Forbidden: they are no maintainer.
    """
    require_maintainer(who)
    with db.snapshot() as session:
        counts = _counts(session)
        since, now = queued_since(session), database_now_ms(session)
        workers = view_workers(session)
        kinds = _waiting(session)
        claiming = [worker for worker in workers if not worker.draining and worker.silent_ms < SILENT_AFTER_MS]
        unfit = tuple(
            kin
            for kin in kinds
            if not any(can_run(worker, kin.dataset, kin.threat_model, needs_cuda=kin.needs_cuda) for worker in claiming)
        )
        oldest = None if since is None else max(now - since, 0)
        submissions, _ = count_submissions(session)
        return QueueView(
            standing=_standing(oldest, idle=not claiming, unfit=bool(unfit)),
            oldest_waiting_ms=oldest,
            running=counts.get("running", 0),
            queued=counts.get("queued", 0),
            pieces=read_pieces(session, limit=MOST_PIECES),
            unfit=unfit,
            workers=workers,
            submissions=submissions,
            failed_submissions=_failed_submissions(session, who),
            failed_runs=_failed_runs(session),
            free_bytes=free_bytes(blobs),
        )


def view_work(db: Database, submission_id: str, who: Actor) -> WorkView:
    """Return a submission with the work on it.

    Raises:
        SignInNeeded: they must say who they are.
        Forbidden: they are no maintainer.
        NotFound: there is no such submission.
    """
    require_maintainer(who)
    with db.snapshot() as session:
        row = session.get(SubmissionRow, submission_id)
        if row is None:
            raise submission_not_found(submission_id)
        priority = select(RunRow.priority).where(RunRow.submission_id == submission_id).order_by(RunRow.id.desc())
        return WorkView(
            submission=view_submissions(session, [row], who)[0],
            pieces=read_pieces(session, submission_id),
            priority=session.scalars(priority.limit(1)).one(),
        )


def _standing(oldest: int | None, *, idle: bool, unfit: bool) -> Standing:
    if oldest is None:
        return Standing.EMPTY
    if idle:
        return Standing.IDLE
    if unfit:
        return Standing.UNFIT
    return Standing.LONG if oldest > LONG_MS else Standing.FINE


def _counts(session: Session) -> dict[str, int]:
    states = (
        select(ShardRow.state, func.count()).where(ShardRow.state.in_(("queued", "running"))).group_by(ShardRow.state)
    )
    return dict(session.execute(states).all())


def _waiting(session: Session) -> tuple[Kin, ...]:
    kind = (SubmissionRow.dataset, SubmissionRow.threat_model, RunRow.needs_cuda)
    found = session.execute(
        select(*kind, func.count())
        .select_from(ShardRow)
        .join(RunRow, RunRow.id == ShardRow.run_id)
        .join(SubmissionRow, SubmissionRow.id == RunRow.submission_id)
        .where(ShardRow.state == "queued")
        .group_by(*kind)
        .order_by(*kind)
    )
    return tuple(
        Kin(dataset=dataset, threat_model=threat_model, needs_cuda=needs_cuda, pieces=pieces)
        for dataset, threat_model, needs_cuda, pieces in found
    )


def _failed_submissions(session: Session, who: Actor) -> tuple[SubmissionView, ...]:
    """Return those that nobody has sent again under their name since: the others are dealt with."""
    later = aliased(SubmissionRow)
    sent_since = (
        select(later.id)
        .where(
            later.dataset == SubmissionRow.dataset,
            later.threat_model == SubmissionRow.threat_model,
            later.name == SubmissionRow.name,
            later.id > SubmissionRow.id,
        )
        .exists()
    )
    failed = (
        select(SubmissionRow)
        .where(SubmissionRow.state == State.FAILED, SubmissionRow.fault == "service", ~sent_since)
        .order_by(SubmissionRow.updated_ms.desc(), SubmissionRow.id.desc())
        .limit(MOST_FAILED)
    )
    return view_submissions(session, session.scalars(failed).all(), who)


def _failed_runs(session: Session) -> tuple[FailedRun, ...]:
    failed = aliased(ShardRow)
    first = select(func.min(failed.id)).where(failed.run_id == RunRow.id, failed.state == "failed")
    found = session.execute(
        select(ShardRow, RunRow, SubmissionRow)
        .join(RunRow, RunRow.id == ShardRow.run_id)
        .join(SubmissionRow, SubmissionRow.id == RunRow.submission_id)
        .where(
            ShardRow.state == "failed",
            ShardRow.id == first.scalar_subquery(),
            RunRow.purpose.in_(REVIVED),
            RunRow.concluded,
            SubmissionRow.state == State.PUBLISHED,
            SubmissionRow.checkpoint_deleted_ms.is_(None),
        )
        .order_by(ShardRow.id.desc())
        .limit(MOST_FAILED)
    )
    return tuple(
        FailedRun(
            shard_id=shard.id,
            submission_id=submission.id,
            name=submission.name,
            dataset=submission.dataset,
            threat_model=submission.threat_model,
            purpose=Purpose(run.purpose),
            attempt=shard.attempt,
            queued_ms=shard.queued_ms,
        )
        for shard, run, submission in found
    )
