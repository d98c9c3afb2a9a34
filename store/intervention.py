"""How maintainers step in: work taken away and queued again, submissions given up or sent again."""

from __future__ import annotations

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from benchmark.errors import Conflict, NotFound
from store.actors import Actor, require_maintainer_or_operator, require_visible
from store.admission import Admission, admit
from store.audit import note
from store.blobs import Blobs
from store.claims import fail_submission
from store.database import Database
from store.moderation import checked_reason
from store.queue import queue_again
from store.resubmission import as_new
from store.states import lock_submission
from store.submission_log import name_of
from store.submission_views import view_submissions
from store.submissions import take_in
from store.tables import ExternalRow, RunRow, ShardRow, SubmissionRow
from store.views import Approval, ExternalState, Purpose, State, SubmissionView

REVIVED = (Purpose.FOLLOW_UP, Purpose.EXTERNAL, Purpose.ANALYSIS)
"""Runs beside the evaluation of a published entry, which may go on after they have failed."""


def requeue(db: Database, shard_id: int, who: Actor | None = None) -> tuple[int, ...]:
    """Let anybody claim a piece of work that somebody holds, or that has failed.

    Whoever holds it can write nothing more, and drops it within seconds; the attempt does not count. Of a closer look,
    of analyses, or of examples by others, that have failed, all pieces that failed with it are queued, as if for the
    first time.

    Args:
        db: the database.
        shard_id: which piece.
        who: a maintainer; None for the operator, who has the database anyway.
    Returns:
        The pieces that are queued now.
    Raises:
        SignInNeeded: they must say who they are.
        Forbidden: they are no maintainer.
        NotFound: there is no such piece of work.
        Conflict: it waits, is done or was cancelled, or belongs to what has ended for good.
    """
    actor = require_maintainer_or_operator(who)
    with db.transaction() as session:
        of = select(RunRow.submission_id).join(ShardRow, ShardRow.run_id == RunRow.id).where(ShardRow.id == shard_id)
        submission_id = session.scalar(of)
        if submission_id is None:
            raise _no_such_piece(shard_id)
        submission = lock_submission(session, submission_id)
        shard = session.get_one(ShardRow, shard_id, with_for_update=True, populate_existing=True)
        if shard.state == "running":
            shard.attempt -= 1
            queue_again(session, shard)
            again = [shard]
        elif shard.state == "failed":
            again = _revive(session, submission, shard.run_id)
        else:
            raise Conflict.because(
                "piece", found=f"one that is {shard.state}", expected="one that runs or has failed",
                remedy="look at the queue again",
            )  # fmt: skip
        piece = name_of(shard.kind, shard.first, shard.last)
        note(session, actor, "requeue", f"submission {submission_id}", piece=piece, worker=shard.worker or "nobody")
        session.flush()
        return tuple(one.id for one in again)


def fail_by_service(db: Database, submission_id: str, reason: str, who: Actor | None = None) -> SubmissionView:
    """Give a submission up through no fault of its model's: it counts for nothing, and may be sent again.

    Args:
        db: the database.
        submission_id: which one.
        reason: why, which its owner reads.
        who: a maintainer; None for the operator, who has the database anyway.
    Raises:
        NotFound: there is no such submission, or they may not see it.
        SignInNeeded: they must say who they are.
        Forbidden: they are no maintainer.
        InvalidSubmission: there is no reason, or it is too long.
        Conflict: it has ended already.
    """
    with db.transaction() as session:
        row = require_visible(who, lock_submission(session, submission_id), submission_id)
        actor = require_maintainer_or_operator(who)
        reason = checked_reason(reason)
        fail_submission(session, submission_id, reason, "service", by=actor)
        note(session, actor, "fail", f"submission {submission_id}", reason=reason)
        session.flush()
        return view_submissions(session, [row], who)[0]


def send_again(
    db: Database, blobs: Blobs, admission: Admission, submission_id: str, who: Actor | None = None
) -> SubmissionView:
    """Take a submission in anew, for whoever had sent it, that had failed through the service.

    It becomes a submission of its own; what has ended stays as it ended.

    Args:
        db: the database.
        blobs: where its checkpoint is.
        admission: what is known of the zoo.
        submission_id: the one that has failed.
        who: a maintainer; None for the operator, who has the database anyway.
    Raises:
        NotFound: there is no such submission, or they may not see it.
        SignInNeeded: they must say who they are.
        Forbidden: they are no maintainer.
        Conflict: it has not failed so, or its name has been taken since.
        InvalidSubmission: it breaks a rule by now, or its checkpoint is gone.
    """
    with db.snapshot() as session:
        row = require_visible(who, session.get(SubmissionRow, submission_id), submission_id)
        actor = require_maintainer_or_operator(who)
    if row.state != State.FAILED or row.fault != "service":
        raise Conflict.because(
            "state", found=row.state + (f" through the {row.fault}" if row.fault else ""),
            expected="failed through the service", remedy="leave what came of it to its owner",
        )  # fmt: skip
    new, board = admit(as_new(row), blobs, admission)
    return take_in(
        db,
        blobs,
        new,
        board,
        baseline=row.baseline,
        zoo_id=row.zoo_id,
        submitter=row.submitter,
        owner_id=row.owner_id,
        approval=Approval.NONE if row.approval == Approval.NONE else Approval.PENDING,
        again=(actor, submission_id),
    )


def _revive(session: Session, submission: SubmissionRow, run_id: int) -> list[ShardRow]:
    """Let a run go on that has failed, though the entry that it is about has not."""
    run = session.get_one(RunRow, run_id, with_for_update=True, populate_existing=True)
    if run.purpose == Purpose.AGAIN:
        raise _ended("another evaluation of an entry", "evaluate the entry again, on its submission's page")
    if run.purpose not in REVIVED:
        raise _ended("a submission that has ended", "send the submission again")
    if submission.state != State.PUBLISHED:
        raise _ended("an entry that is not on its board", "restore the entry first")
    if submission.checkpoint_deleted_ms is not None:
        raise _ended("an entry whose file was deleted", "leave it: nobody can go on without the file")
    run.concluded = False
    if run.purpose == Purpose.EXTERNAL:
        session.execute(
            update(ExternalRow)
            .where(ExternalRow.run_id == run_id)
            .values(state=ExternalState.QUEUED, reason="", concluded_ms=None)
        )
    failed = select(ShardRow).where(ShardRow.run_id == run_id, ShardRow.state == "failed").order_by(ShardRow.first)
    shards = session.scalars(failed.with_for_update()).all()
    for shard in shards:
        shard.attempt, shard.cancel_requested = 0, False
        queue_again(session, shard)
    return list(shards)


def _ended(found: str, remedy: str) -> Conflict:
    return Conflict.because(
        "piece", found=f"one of {found}", expected="one that runs, or of what can go on", remedy=remedy
    )


def _no_such_piece(shard_id: int) -> NotFound:
    return NotFound.because(
        "piece", found=str(shard_id), expected="the number of a piece of work", remedy="look the number up in the queue"
    )
