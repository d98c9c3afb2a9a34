"""The queue: pieces of work that wait for a worker, and whose turn is next."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from sqlalchemy import Select, case, func, or_, select, update
from sqlalchemy.orm import Session

from benchmark.analysis.results import Analysis
from benchmark.corruption_table import OFFICIAL, corrupted_name
from benchmark.errors import InvalidInput
from benchmark.threat_models import CORRUPTIONS
from store.actors import Actor, require_maintainer_or_operator, require_visible
from store.audit import note
from store.database import Database, database_now_ms, ring_after_commit, upsert
from store.states import lock_submission
from store.tables import RunRow, ShardRow, ShareRow, SubmissionRow
from store.views import Purpose, View
from store.workers import Worker

SHARD_POINTS = 250
"""Most points of one shard."""
NORMAL = 0
"""Priority of a submission unless a maintainer gives it another."""
AGAIN = -5
"""Priority of another evaluation of a published entry: newcomers come first."""
FOLLOW_UP = -10
"""Priority of a closer look at a published entry: it never delays a first look."""
MOST_PRIORITY = 1_000
ANALYSIS = -20
"""Priority of what does not rank: everything else comes first."""
_AT_ONCE = 64
"""Workers that may claim in the same moment without one of them finding nothing, only to hear the next bell."""


def blocks(points: int, size: int) -> tuple[tuple[int, int], ...]:
    """Cut a range of points into the fewest blocks of at most that size, as equal as possible."""
    count = -(-points // size)
    bounds = [points * i // count for i in range(count + 1)]
    return tuple(itertools.pairwise(bounds))


def queue_work(session: Session, run_id: int, kind: str, blocks: Iterable[tuple[int, int]]) -> None:
    """Add pieces of work that anybody may claim, one for each block of points."""
    now = database_now_ms(session)
    shards = [
        ShardRow(
            run_id=run_id,
            kind=kind,
            first=first,
            last=last,
            state="queued",
            queued_ms=now,
            attempt=0,
            cancel_requested=False,
        )
        for first, last in blocks
    ]
    session.add_all(shards)
    session.flush()
    for shard in shards:
        ring_after_commit(session, shard.id)


def analysis_of(number: int) -> Analysis:
    """Return the analysis of a piece of work, by the number that it begins with."""
    return list(Analysis)[number]


def queue_again(session: Session, shard: ShardRow) -> None:
    """Let anybody claim a piece of work that was claimed before."""
    shard.state, shard.queued_ms = "queued", database_now_ms(session)
    shard.lease_token = shard.lease_until = None
    ring_after_commit(session, shard.id)


def next_work(worker: Worker) -> Select[ShardRow, RunRow, SubmissionRow]:
    """Return the query for the piece of work that this worker claims next.

    Of what it can run: the greatest priority; checks, judges and analyses, which take minutes, before shards; the
    submitter with the least running, and of those the one whose turn was longest ago; then the oldest.

    FOR UPDATE SKIP LOCKED lets claimers on PostgreSQL pass each other; on SQLite, where the transaction holds the only
    write lock already, it is compiled to nothing. PostgreSQL sorts all that it might lock, so the first few are found
    before: it takes a fifth of the time where a thousand submissions wait.
    """
    busy = (
        select(SubmissionRow.submitter, func.count().label("running"))
        .select_from(ShardRow)
        .join(RunRow, RunRow.id == ShardRow.run_id)
        .join(SubmissionRow, SubmissionRow.id == RunRow.submission_id)
        .where(ShardRow.state == "running")
        .group_by(SubmissionRow.submitter)
        .subquery()
    )
    runnable = [
        SubmissionRow.dataset.in_(worker.datasets),
        or_(SubmissionRow.threat_model != CORRUPTIONS, SubmissionRow.dataset.not_in(_uncorrupted(worker))),
    ]
    if not worker.has_cuda:
        runnable.append(RunRow.needs_cuda.is_(False))
    turn = (
        (-RunRow.priority).label("priority"),
        case((ShardRow.kind == "shard", 1), else_=0).label("kind"),
        func.coalesce(busy.c.running, 0).label("running"),
        func.coalesce(ShareRow.served_ms, 0).label("served"),
        ShardRow.run_id,
        ShardRow.first,
    )
    first = (
        select(ShardRow.id, *turn)
        .join(RunRow, RunRow.id == ShardRow.run_id)
        .join(SubmissionRow, SubmissionRow.id == RunRow.submission_id)
        .outerjoin(busy, busy.c.submitter == SubmissionRow.submitter)
        .outerjoin(ShareRow, ShareRow.submitter == SubmissionRow.submitter)
        .where(ShardRow.state == "queued", *runnable)
        .order_by(*turn)
        .limit(_AT_ONCE)
        .subquery()
    )
    return (
        select(ShardRow, RunRow, SubmissionRow)
        .join(first, first.c.id == ShardRow.id)
        .join(RunRow, RunRow.id == ShardRow.run_id)
        .join(SubmissionRow, SubmissionRow.id == RunRow.submission_id)
        .where(ShardRow.state == "queued")  # when it is locked somebody else may have had it
        .order_by(*(first.c[column.name] for column in turn))
        .limit(1)
        .with_for_update(of=ShardRow, skip_locked=True)
    )


def can_run(worker: Worker, dataset: str, threat_model: str, *, needs_cuda: bool) -> bool:
    """Tell whether a worker can run such work; `next_work` asks the database the same."""
    corrupted = threat_model != CORRUPTIONS or dataset not in _uncorrupted(worker)
    return dataset in worker.datasets and corrupted and (worker.has_cuda or not needs_cuda)


def _uncorrupted(worker: Worker) -> list[str]:
    """Return the data sets whose corrupted images are published and not at this worker."""
    return [name for name in OFFICIAL if corrupted_name(name) not in worker.datasets]


def serve(session: Session, submitter: str) -> None:
    """Note that a submitter was served, so that the others come first next time."""
    upsert(session, ShareRow, {"submitter": submitter}, {"served_ms": database_now_ms(session)})


def set_priority(db: Database, submission_id: str, priority: int, who: Actor | None = None) -> None:
    """Give the work of a submission another place in the queue.

    Args:
        db: the database.
        submission_id: whose work.
        priority: the greater is claimed first.
        who: a maintainer; None for the operator, who has the database anyway.
    Raises:
        NotFound: there is no such submission, or they may not see it.
        SignInNeeded: they must say who they are.
        Forbidden: they are no maintainer.
        InvalidInput: there is no such priority.
    """
    with db.transaction() as session:
        require_visible(who, lock_submission(session, submission_id), submission_id)
        actor = require_maintainer_or_operator(who)
        if not -MOST_PRIORITY <= priority <= MOST_PRIORITY:
            raise InvalidInput.because(
                "priority", found=str(priority)[:80], expected=f"a number from -{MOST_PRIORITY} to {MOST_PRIORITY}",
                remedy=f"{NORMAL} is normal, and the greater is claimed first",
            )  # fmt: skip
        session.execute(update(RunRow).where(RunRow.submission_id == submission_id).values(priority=priority))
        note(session, actor, "set_priority", f"submission {submission_id}", priority=str(priority))


class Piece(View):
    """A piece of work that is queued or running."""

    shard_id: int
    submission_id: str
    name: str
    dataset: str
    threat_model: str
    kind: str
    analysis: Analysis | None = None
    """Of an analysis: which one."""
    purpose: Purpose
    first: int
    last: int
    """One past the last point."""
    state: str
    priority: int
    attempt: int
    waiting_ms: int
    """Since it was queued last."""
    worker: str | None
    needs_cuda: bool
    silent_ms: int | None
    """Since the last sign of life from whoever holds it; None where nobody does."""
    standing_ms: int | None
    """Since it went on; None where nobody holds it."""
    lease_ms: int | None
    """Until its lease runs out, below 0 where it has; None where nobody holds it."""


def view_queue(db: Database) -> tuple[Piece, ...]:
    """Return the work that is running or queued, roughly in the order in which it is claimed."""
    with db.snapshot() as session:
        return read_pieces(session)


def read_pieces(session: Session, submission_id: str | None = None, limit: int | None = None) -> tuple[Piece, ...]:
    """Return the work that is running or queued as one moment of the database has it, in the same order.

    Args:
        session: the transaction.
        submission_id: only the work on this.
        limit: most pieces; None for all.
    """
    now = database_now_ms(session)
    wanted = (
        select(ShardRow, RunRow, SubmissionRow)
        .join(RunRow, RunRow.id == ShardRow.run_id)
        .join(SubmissionRow, SubmissionRow.id == RunRow.submission_id)
        .where(ShardRow.state.in_(("queued", "running")))
        .order_by(
            ShardRow.state.desc(),
            RunRow.priority.desc(),
            case((ShardRow.kind == "shard", 1), else_=0),
            ShardRow.run_id,
            ShardRow.first,
        )
        .limit(limit)
    )
    if submission_id is not None:
        wanted = wanted.where(SubmissionRow.id == submission_id)
    return tuple(_piece(shard, run, submission, now) for shard, run, submission in session.execute(wanted))


def _piece(shard: ShardRow, run: RunRow, submission: SubmissionRow, now: int) -> Piece:
    held = shard.state == "running"
    return Piece(
        shard_id=shard.id,
        submission_id=submission.id,
        name=submission.name,
        dataset=submission.dataset,
        threat_model=submission.threat_model,
        kind=shard.kind,
        analysis=analysis_of(shard.first) if shard.kind == "analysis" else None,
        purpose=Purpose(run.purpose),
        first=shard.first,
        last=shard.last,
        state=shard.state,
        priority=run.priority,
        attempt=shard.attempt,
        waiting_ms=max(now - (shard.queued_ms or run.created_ms), 0),  # 0 is older than the time that is noted
        worker=shard.worker,
        needs_cuda=run.needs_cuda,
        silent_ms=max(now - shard.beat_at, 0) if held and shard.beat_at is not None else None,
        standing_ms=max(now - shard.progress_at, 0) if held and shard.progress_at is not None else None,
        lease_ms=shard.lease_until - now if held and shard.lease_until is not None else None,
    )
