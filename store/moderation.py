"""What people decide about submissions and their entries: approve, decline, withdraw, restore, reveal."""

from __future__ import annotations

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from benchmark.errors import Conflict, InvalidSubmission
from store.actors import Actor, require_changeable, require_maintainer, require_revealer, require_visible
from store.admission import LONGEST_REASON, cleaned_text
from store.audit import note
from store.blobs import Blobs
from store.claims import fail_run
from store.database import Database, database_now_ms
from store.entry_values import set_names
from store.publication import publish_evaluated
from store.queue import queue_again
from store.states import lock_submission, move
from store.submission_notices import tell_of_names
from store.submission_views import view_submissions
from store.submissions import close_run
from store.tables import EntryRow, RunRow, ShardRow, SubmissionRow
from store.views import Approval, Purpose, State, SubmissionView


def approve(db: Database, blobs: Blobs, submission_id: str, who: Actor) -> SubmissionView:
    """Publish a submission that is evaluated and waits for a maintainer.

    Raises:
        NotFound: there is no such submission, or they may not see it.
        SignInNeeded: they must say who they are.
        Forbidden: they are no maintainer.
        Conflict: it does not wait, or no longer.
        EvaluationFailed: what was measured is gone or damaged.
    """

    def require(row: SubmissionRow) -> None:
        _require_decider(who, row, submission_id)

    def agree(session: Session, row: SubmissionRow) -> None:
        row.approval = Approval.APPROVED
        note(session, who.account_id, "approve", f"submission {submission_id}")

    publish_evaluated(db, blobs, submission_id, require, agree)
    return _shown(db, submission_id, who)


def decline(db: Database, submission_id: str, who: Actor, reason: str) -> SubmissionView:
    """Decline to publish a submission; its owner learns why, and not by whom.

    Raises:
        NotFound: there is no such submission, or they may not see it.
        SignInNeeded: they must say who they are.
        Forbidden: they are no maintainer.
        InvalidSubmission: there is no reason, or it is too long.
        Conflict: it does not wait, or no longer.
    """
    with db.transaction() as session:
        row = lock_submission(session, submission_id)
        _require_decider(who, row, submission_id)
        reason = checked_reason(reason)
        row.approval = Approval.DECLINED  # before the state changes, so that its owner is told which of the two it was
        move(session, submission_id, State.REJECTED, reason=reason, fault="model", by=who.account_id)
        note(session, who.account_id, "decline", f"submission {submission_id}", reason=reason)
        session.flush()
        return view_submissions(session, [row], who)[0]


def withdraw(db: Database, submission_id: str, who: Actor, reason: str) -> SubmissionView:
    """Take an entry off its board; its page stays and says when and why, and its name stays taken.

    Work on it ends at once: a closer look goes on where it comes back; examples of others are to be sent again.

    Raises:
        NotFound: there is no such submission, or they may not see it.
        SignInNeeded: they must say who they are.
        Forbidden: it is not theirs.
        InvalidSubmission: there is no reason, or it is too long.
        Conflict: it is not published.
    """
    with db.transaction() as session:
        row = require_changeable(who, lock_submission(session, submission_id), submission_id)
        reason = checked_reason(reason)
        by = "its owner" if who.account_id == row.owner_id else "a maintainer"
        move(session, submission_id, State.WITHDRAWN, reason=f"withdrawn by {by}: {reason}", by=who.account_id)
        entry = _locked_entry(session, submission_id)
        entry.withdrawn_ms, entry.withdrawn_reason = database_now_ms(session), reason
        session.flush()
        _end_work(session, submission_id)
        note(session, who.account_id, "withdraw", f"submission {submission_id}", reason=reason)
        return view_submissions(session, [row], who)[0]


def restore(db: Database, submission_id: str, who: Actor) -> SubmissionView:
    """Put a withdrawn entry back on its board, as it was.

    Raises:
        NotFound: there is no such submission, or they may not see it.
        SignInNeeded: they must say who they are.
        Forbidden: they are no maintainer.
        Conflict: it is not withdrawn.
    """
    with db.transaction() as session:
        row = require_visible(who, lock_submission(session, submission_id), submission_id)
        require_maintainer(who)
        _require(row.state == State.WITHDRAWN, "state", row.state, "withdrawn", "restore what was withdrawn")
        move(session, submission_id, State.PUBLISHED)
        entry = _locked_entry(session, submission_id)
        entry.withdrawn_ms, entry.withdrawn_reason = None, ""
        session.flush()
        _resume_looks(session, submission_id, has_file=row.checkpoint_deleted_ms is None)
        note(session, who.account_id, "restore", f"submission {submission_id}")
        return view_submissions(session, [row], who)[0]


def reveal(db: Database, submission_id: str, who: Actor) -> SubmissionView:
    """Say who made an anonymous submission, for good; only its owner may.

    Raises:
        NotFound: there is no such submission, or they may not see it.
        SignInNeeded: they must say who they are.
        Forbidden: it is not theirs.
        Conflict: it is not anonymous.
    """
    with db.transaction() as session:
        row = require_revealer(who, lock_submission(session, submission_id), submission_id)
        _require(row.anonymous, "anonymous", "names that are shown", "names that are hidden", "there is nothing to do")
        _reveal(session, row, who.account_id)
        return view_submissions(session, [row], who)[0]


def reveal_due(db: Database) -> tuple[str, ...]:
    """Reveal the anonymous submissions whose day has come, and return their ids.

    What was withdrawn stays as it is: its author may have had a reason.
    """
    with db.snapshot() as session:
        now = database_now_ms(session)
        due = select(SubmissionRow.id).where(
            SubmissionRow.anonymous, SubmissionRow.embargo_until_ms <= now, SubmissionRow.state != State.WITHDRAWN
        )
        found = session.scalars(due.order_by(SubmissionRow.id)).all()
    revealed = []
    for submission_id in found:
        with db.transaction() as session:
            row = lock_submission(session, submission_id)
            if row.anonymous and row.state != State.WITHDRAWN:
                _reveal(session, row, None)
                revealed.append(submission_id)
    return tuple(revealed)


def checked_reason(reason: str) -> str:
    """Return the reason of a decision, cleaned.

    Raises:
        InvalidSubmission: there is none, or it is too long.
    """
    reason = cleaned_text("reason", reason, LONGEST_REASON)
    if not reason:
        raise InvalidSubmission.because(
            "reason", found="nothing", expected="a reason, in a sentence or two", remedy="say why"
        )
    return reason


def _require_decider(who: Actor, row: SubmissionRow, submission_id: str) -> None:
    require_visible(who, row, submission_id)
    require_maintainer(who)
    waits = row.state == State.EVALUATED and row.approval == Approval.PENDING
    found = f"{row.state}, {row.approval}"
    _require(waits, "state", found, "evaluated, pending", "decide about what waits for approval")


def _require(holds: bool, field: str, found: str, expected: str, remedy: str) -> None:
    if not holds:
        raise Conflict.because(field, found=found, expected=expected, remedy=remedy)


def _locked_entry(session: Session, submission_id: str) -> EntryRow:
    """Return the entry of a submission, whose row is locked already: in this order everybody locks the two."""
    entry = select(EntryRow).where(EntryRow.submission_id == submission_id)
    return session.scalars(entry.with_for_update().execution_options(populate_existing=True)).one()


SUSPENDED = (Purpose.FOLLOW_UP, Purpose.ANALYSIS)
"""Runs that a withdrawal stops, and that go on where the entry comes back."""


def _end_work(session: Session, submission_id: str) -> None:
    """End all work on an entry that leaves its board; that of closer looks and analyses can go on later."""
    runs = session.scalars(
        select(RunRow)
        .where(RunRow.submission_id == submission_id, RunRow.purpose != Purpose.RANKING, RunRow.concluded.is_(False))
        .with_for_update()
    ).all()
    for run in runs:
        if run.purpose not in SUSPENDED:
            fail_run(session, run.id, "the entry was withdrawn", "service")
            continue
        session.execute(
            update(ShardRow)
            .where(ShardRow.run_id == run.id, ShardRow.state.in_(("queued", "running")))
            .values(state="cancelled", cancel_requested=True)
            .execution_options(synchronize_session=False)
        )


def _resume_looks(session: Session, submission_id: str, *, has_file: bool) -> None:
    """Let what a withdrawal has stopped go on, or end it where the file has been deleted since."""
    suspended = (
        select(ShardRow)
        .join(RunRow, RunRow.id == ShardRow.run_id)
        .where(
            RunRow.submission_id == submission_id,
            RunRow.purpose.in_(SUSPENDED),
            RunRow.concluded.is_(False),
            ShardRow.state == "cancelled",
        )
    )
    if not has_file:
        runs = suspended.with_only_columns(ShardRow.run_id).distinct()
        for run_id in session.scalars(runs).all():
            close_run(session, run_id, "cancelled")
        return
    for shard in session.scalars(suspended).all():
        shard.attempt, shard.cancel_requested = 0, False
        queue_again(session, shard)


def _reveal(session: Session, row: SubmissionRow, actor: str | None) -> None:
    row.anonymous = False
    entry = session.scalars(select(EntryRow).where(EntryRow.submission_id == row.id).with_for_update()).one_or_none()
    if entry is not None:
        set_names(entry, row)
    note(session, actor, "reveal", f"submission {row.id}")
    tell_of_names(session, row, actor)
    session.flush()


def _shown(db: Database, submission_id: str, who: Actor) -> SubmissionView:
    with db.snapshot() as session:
        return view_submissions(session, [session.get_one(SubmissionRow, submission_id)], who)[0]
