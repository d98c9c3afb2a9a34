"""Submissions: take one in, cancel it, look at it."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Select, func, or_, select, true, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from benchmark.errors import Conflict, InvalidSubmission
from benchmark.threat_models import Board
from store.actors import PUBLIC, Actor, Scope, require_account_to_hide, require_changeable, require_visible
from store.admission import LONGEST_REASON, Admission, admit, admit_fields, checkpoint_missing, cleaned_text
from store.audit import note
from store.blobs import Blobs
from store.database import Database, database_now_ms, new_id, take_turns
from store.entries import entry_of_name, same_name
from store.errors import QueueFull
from store.queue import NORMAL, queue_work
from store.runs import add_run
from store.seeds import key_of_run
from store.states import OPEN, UNDER_WAY, move
from store.submission_notices import tell_owner
from store.submission_views import as_columns, view_submissions
from store.tables import RunRow, ShardRow, SubmissionRow, TransitionRow
from store.unverified import is_replaceable
from store.views import Approval, NewSubmission, Purpose, State, SubmissionView

ZOO = "zoo"
"""The submitter of the models that come with the program."""
MAX_OPEN = 500
"""Submissions on their way to a result at which no more are taken in; even at a minute each, hours of work."""
MAX_OPEN_EACH = 50
"""The same for one submitter, so that nobody fills the queue alone."""


def submit(
    db: Database,
    blobs: Blobs,
    new: NewSubmission,
    admission: Admission,
    *,
    submitter: str = "",
    owner_id: str | None = None,
    needs_approval: bool = False,
    max_open: int = MAX_OPEN,
) -> SubmissionView:
    """Take a submission in and queue its check.

    Args:
        db: the database.
        blobs: where the checkpoint is.
        new: the submission.
        admission: what is known of the zoo.
        submitter: for whom it counts in the fair share, see `store.submitters`.
        owner_id: the account that sends it; None where nobody is signed in.
        needs_approval: whether a maintainer must agree before it is published, see `store.actors.needs_approval`.
        max_open: submissions on their way to a result at which no more are taken in.
    Raises:
        NotFound: there is no such board.
        InvalidSubmission: a field breaks a rule.
        InvalidCheckpoint: the file is not a sound checkpoint.
        TooLarge: the checkpoint exceeds the limit.
        Conflict: the name is taken on the board, or a maintainer has declined to publish this very file.
        QueueFull: too many submissions are waiting.
    """
    require_account_to_hide(new.anonymous, owner_id)
    new, board = admit(new, blobs, admission)
    return take_in(
        db,
        blobs,
        new,
        board,
        baseline=False,
        zoo_id=None,
        submitter=submitter,
        owner_id=owner_id,
        approval=Approval.PENDING if needs_approval else Approval.NONE,
        max_open=max_open,
    )


def require_admissible(
    db: Database,
    new: NewSubmission,
    admission: Admission,
    *,
    submitter: str = "",
    owner_id: str | None = None,
    max_open: int = MAX_OPEN,
) -> None:
    """Raise what `submit` would raise for anything but the checkpoint, so that no file need be kept for nothing.

    Raises:
        NotFound: there is no such board.
        InvalidSubmission: a field breaks a rule.
        Conflict: the name is taken on the board.
        QueueFull: too many submissions are waiting.
    """
    require_account_to_hide(new.anonymous, owner_id)
    new, _ = admit_fields(new, admission)
    with db.snapshot() as session:
        _require_free_name(session, new, owner_id)
        require_room(session, submitter, max_open)


def ensure_submission(
    db: Database, blobs: Blobs, new: NewSubmission, admission: Admission, *, baseline: bool, zoo_id: str | None
) -> SubmissionView:
    """Take in a model of the zoo unless its board has one of that name: a second start continues the first.

    Whatever came of the first is left alone, unless the service itself failed: then it is taken in again.
    """
    present = _sound(db, new)
    if present is not None:
        return present
    new, board = admit(new, blobs, admission)
    try:
        return take_in(db, blobs, new, board, baseline=baseline, zoo_id=zoo_id, submitter=ZOO)
    except Conflict:
        present = _sound(db, new)  # two services that start at once both try
        if present is None:
            raise
        return present


def cancel(db: Database, submission_id: str, who: Actor | None = None, reason: str = "") -> SubmissionView:
    """Cancel a submission at once; whoever works on it learns of it with its next sign of life.

    Args:
        db: the database.
        submission_id: which one.
        who: who asks; None for the operator, who has the database anyway.
        reason: why, which its owner reads; empty where nobody need be told.
    Raises:
        NotFound: there is no such submission, or they may not see it.
        SignInNeeded: they must say who they are.
        Forbidden: it is not theirs.
        InvalidSubmission: the reason is too long.
        Conflict: it has already ended.
    """
    with db.transaction() as session:
        row = require_changeable(who, session.get(SubmissionRow, submission_id), submission_id)
        by = who.account_id if who is not None else None
        reason = cleaned_text("reason", reason, LONGEST_REASON)
        told = f"cancelled by {_whom(who, row)}: {reason}" if reason else "cancelled by request"
        move(session, submission_id, State.CANCELLED, reason=told, by=by)
        close_shards(session, submission_id, "cancelled")
        if who is None or by is not None:  # of somebody without an account there is nothing to be noted
            detail = {"reason": reason} if reason else {}
            note(session, by, "cancel", f"submission {submission_id}", **detail)
        row = session.get_one(SubmissionRow, submission_id, populate_existing=True)
        return view_submissions(session, [row], who)[0]


def _whom(who: Actor | None, row: SubmissionRow) -> str:
    if who is not None and who.account_id is None:
        return "request"
    return "its owner" if who is not None and who.account_id == row.owner_id else "a maintainer"


def get_submission(db: Database, submission_id: str, who: Actor | None = None) -> SubmissionView:
    """Return a submission with its live state.

    Raises:
        NotFound: there is no such submission, or they may not see it.
    """
    with db.snapshot() as session:
        row = require_visible(who, session.get(SubmissionRow, submission_id), submission_id)
        return view_submissions(session, [row], who)[0]


def list_submissions(
    db: Database, limit: int = 50, who: Actor | None = None, *, own: bool = False
) -> tuple[SubmissionView, ...]:
    """Return the newest submissions that somebody may see, the newest first.

    Args:
        db: the database.
        limit: most of them.
        who: who asks.
        own: only those that are theirs.
    """
    with db.snapshot() as session:
        rows = session.scalars(visible_submissions(limit, who, own=own)).all()
        return view_submissions(session, rows, who)


def visible_submissions(limit: int, who: Actor | None, *, own: bool) -> Select[SubmissionRow]:
    """Return the query for the newest submissions that somebody may see, for those that are theirs alone if `own`."""
    wanted = select(SubmissionRow).where(_seen_by(who)).order_by(SubmissionRow.id.desc()).limit(limit)
    return wanted.where(SubmissionRow.owner_id == (who.account_id if who is not None else None)) if own else wanted


def list_open(
    db: Database, dataset: str, threat_model: str, limit: int = 200, who: Actor | None = None
) -> tuple[SubmissionView, ...]:
    """Return the submissions on their way to a board that somebody may see, the oldest first."""
    with db.snapshot() as session:
        rows = session.scalars(
            select(SubmissionRow)
            .where(
                SubmissionRow.state.in_(UNDER_WAY),
                SubmissionRow.dataset == dataset,
                SubmissionRow.threat_model == threat_model,
                _seen_by(who),
            )
            .order_by(SubmissionRow.id)
            .limit(limit)
        ).all()
        return view_submissions(session, rows, who)


def count_open(db: Database) -> dict[tuple[str, str], int]:
    """Return how many submissions are on their way, by data set and threat model; boards without any are left out."""
    board = (SubmissionRow.dataset, SubmissionRow.threat_model)
    with db.snapshot() as session:
        counts = session.execute(
            select(*board, func.count()).where(SubmissionRow.state.in_(UNDER_WAY)).group_by(*board)
        )
        return {(dataset, threat_model): count for dataset, threat_model, count in counts}


def _seen_by(who: Actor | None) -> ColumnElement[bool]:
    """Return the condition that `Actor.may_see` is, for many rows at once."""
    if who is None or who.moderates:
        return true()
    public = or_(SubmissionRow.owner_id.is_(None), SubmissionRow.state.in_(PUBLIC))
    if who.account_id is None or Scope.READ not in who.scopes:
        return public
    return or_(public, SubmissionRow.owner_id == who.account_id)


def close_shards(session: Session, submission_id: str, state: str) -> None:
    """End all unfinished work of a submission: as "cancelled" or "failed"."""
    for run_id in session.scalars(select(RunRow.id).where(RunRow.submission_id == submission_id)):
        close_run(session, run_id, state)


def close_run(session: Session, run_id: int, state: str) -> None:
    """End all unfinished work of a run: as "cancelled" or "failed"; nothing more comes of it."""
    session.execute(
        update(RunRow).where(RunRow.id == run_id).values(concluded=True).execution_options(synchronize_session=False)
    )
    session.execute(
        update(ShardRow)
        .where(ShardRow.run_id == run_id, ShardRow.state.in_(("queued", "running")))
        .values(state=state, cancel_requested=True)
        .execution_options(synchronize_session=False)
    )


def _sound(db: Database, new: NewSubmission) -> SubmissionView | None:
    """Return the latest submission of that name, unless the service failed at it."""
    with db.snapshot() as session:
        present = _latest_of_name(session, new)
        if present is None or (present.state == State.FAILED and present.fault == "service"):
            return None
        return view_submissions(session, [present], None)[0]


def take_in(
    db: Database,
    blobs: Blobs,
    new: NewSubmission,
    board: Board,
    *,
    baseline: bool,
    zoo_id: str | None,
    submitter: str,
    owner_id: str | None = None,
    approval: Approval = Approval.NONE,
    max_open: int | None = None,
    again: tuple[str | None, str] | None = None,
) -> SubmissionView:
    """Store what has been admitted, and queue its check.

    Args:
        db: the database.
        blobs: where the checkpoint is.
        new: the submission, admitted.
        board: where to.
        baseline: whether it is one of the models that come along.
        zoo_id: its name in the zoo.
        submitter: for whom it counts.
        owner_id: whose it is.
        approval: whether somebody must agree to its publication.
        max_open: submissions on their way at which no more are taken in; None for no such limit.
        again: where a maintainer sends one again, their account and the earlier submission, to be noted.
    Raises:
        InvalidSubmission: the checkpoint has been deleted meanwhile.
        Conflict: the name is taken, or a maintainer has declined to publish this very file.
        QueueFull: too many submissions are waiting.
    """
    try:
        with db.transaction() as session:
            take_turns(session, "submit")  # so that what is free, the name and the room, stays so
            if not blobs.exists(new.checkpoint_sha256):  # somebody has deleted it since it was looked at
                raise checkpoint_missing(new.checkpoint_sha256)
            _require_free_name(session, new, owner_id)
            if max_open is not None:
                require_room(session, submitter, max_open)
            if approval is Approval.PENDING and owner_id is not None:
                _require_not_declined(session, new, owner_id)
            view = _insert(
                session,
                new,
                board,
                baseline=baseline,
                zoo_id=zoo_id,
                submitter=submitter,
                owner_id=owner_id,
                approval=approval,
            )
            if again is not None:
                note(session, again[0], "send_again", f"submission {again[1]}", submission=view.id)
            return view
    except IntegrityError:
        raise _name_taken(new) from None  # the database itself lets no second one in


def _require_free_name(session: Session, new: NewSubmission, owner_id: str | None) -> None:
    entry = session.scalar(entry_of_name(new.dataset, new.threat_model, new.name))
    present = _latest_of_name(session, new)
    if new.anonymous and entry is not None and is_replaceable(entry, owner_id):
        raise InvalidSubmission.because(
            "anonymous", found="the name of an unverified entry of yours, which tells who you are",
            expected="a name that nobody knows yet", remedy="choose another name, or submit under your own",
        )  # fmt: skip
    if (entry is not None and not is_replaceable(entry, owner_id)) or (
        present is not None and State(present.state) in OPEN
    ):
        raise _name_taken(new, present)


def _require_not_declined(session: Session, new: NewSubmission, owner_id: str) -> None:
    """Refuse to evaluate for the same account once more what a maintainer has declined to publish."""
    declined = session.scalar(
        select(SubmissionRow.id)
        .where(
            SubmissionRow.owner_id == owner_id,
            SubmissionRow.dataset == new.dataset,
            SubmissionRow.threat_model == new.threat_model,
            SubmissionRow.checkpoint_sha256 == new.checkpoint_sha256,
            SubmissionRow.approval == Approval.DECLINED,
        )
        .order_by(SubmissionRow.id.desc())
        .limit(1)
    )
    if declined is not None:
        raise Conflict.because(
            "checkpoint_sha256",
            found=f"the file of submission {declined}, whose publication was declined",
            expected="another model",
            remedy="read there why, and submit a model that mends it",
        )


def require_room(session: Session, submitter: str, max_open: int = MAX_OPEN) -> None:
    """Refuse more work while too much is waiting, of all or of one submitter.

    What only waits for a maintainer holds no worker up, so it counts for its own submitter alone.

    Raises:
        QueueFull: too much is waiting.
    """
    submissions = select(func.count()).select_from(SubmissionRow)
    opened = submissions.where(SubmissionRow.state.in_(OPEN))
    again = (
        select(func.count())
        .select_from(RunRow)
        .join(SubmissionRow, SubmissionRow.id == RunRow.submission_id)
        .where(RunRow.purpose == Purpose.AGAIN, RunRow.concluded.is_(False))
    )
    at_work = submissions.where(SubmissionRow.state.in_(UNDER_WAY))
    waiting = (session.scalar(at_work) or 0) + (session.scalar(again) or 0)
    if waiting >= max_open:
        raise QueueFull(f"{waiting} submissions are waiting already; this one was not taken in. Try again later.")
    counted = (session.scalar(query.where(SubmissionRow.submitter == submitter)) for query in (opened, again))
    own = sum(number or 0 for number in counted)
    if submitter and own >= MAX_OPEN_EACH:
        raise QueueFull(f"{own} of your submissions are waiting already; this one was not taken in. Try again later.")


def _name_taken(new: NewSubmission, present: SubmissionRow | None = None) -> Conflict:
    """Return the error; whoever has sent the same model twice learns where the first one is."""
    return Conflict.because(
        "name",
        found=repr(new.name),
        expected=f"a name that is not taken on {new.dataset}/{new.threat_model}",
        remedy=f"this model has been submitted before, see submission {present.id}; or choose another name"
        if present is not None and present.checkpoint_sha256 == new.checkpoint_sha256
        else "choose another name",
    )


def _latest_of_name(session: Session, new: NewSubmission) -> SubmissionRow | None:
    return session.scalar(
        select(SubmissionRow)
        .where(
            SubmissionRow.dataset == new.dataset,
            SubmissionRow.threat_model == new.threat_model,
            same_name(SubmissionRow.name, new.name),
        )
        .order_by(SubmissionRow.id.desc())
        .limit(1)
    )


def _insert(
    session: Session,
    new: NewSubmission,
    board: Board,
    *,
    baseline: bool,
    zoo_id: str | None,
    submitter: str,
    owner_id: str | None,
    approval: Approval,
) -> SubmissionView:
    now = database_now_ms(session)
    row = SubmissionRow(
        id=new_id(now),
        **as_columns(new),
        baseline=baseline,
        zoo_id=zoo_id,
        submitter=submitter,
        owner_id=owner_id,
        approval=approval,
        state=State.RECEIVED,
        reason="",
        fault=None,
        created_ms=now,
        updated_ms=now,
    )
    session.add(row)
    session.flush()
    session.add(TransitionRow(submission_id=row.id, state=State.RECEIVED, reason="", at_ms=now))
    queue_evaluation(session, row, board, Purpose.RANKING, NORMAL)
    tell_owner(session, row, State.RECEIVED)
    return view_submissions(session, [row], None)[0]


def queue_evaluation(
    session: Session, submission: SubmissionRow, board: Board, purpose: Purpose, priority: int
) -> RunRow:
    """Queue the check of a submission by the board's protocol, from which the rest of its evaluation follows."""
    run = add_run(
        session,
        submission.id,
        purpose,
        board.protocol,
        key=_key(session, submission.checkpoint_sha256, board),
        norm=board.norm,
        epsilon=board.epsilon_text,
        points=board.points,
        priority=priority,
        needs_cuda=board.needs_cuda,
    )
    queue_work(session, run.id, "check", [(0, board.points)])
    return run


def _key(session: Session, checkpoint_sha256: str, board: Board) -> str:
    """Return the key of all that is secret of the run; empty where there is nobody to keep anything from.

    On a board of corruptions all models are asked about the same images.
    """
    if not board.attacked:
        return ""
    return key_of_run(
        session,
        purpose=Purpose.RANKING,
        protocol=board.protocol,
        dataset=board.dataset,
        threat_model=board.threat_model,
        checkpoint_sha256=checkpoint_sha256,
    )
