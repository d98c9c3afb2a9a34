"""Submitting a model again without sending its file again: for whoever has sent it, and for nobody else."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from store.actors import Actor
from store.admission import checkpoint_missing
from store.database import Database, database_now_ms
from store.states import LEGAL, OPEN, submission_not_found
from store.submission_views import as_submitted, view_submissions
from store.submissions import ZOO, visible_submissions
from store.tables import SubmissionRow, UploadRow
from store.views import Approval, NewSubmission, State, SubmissionView, View

_NOT_AGAIN = frozenset({*OPEN, State.PUBLISHED, State.WITHDRAWN})
"""States in which a submission's name is not free."""


class ListedSubmissions(View):
    """Submissions, with what whoever looks may do about each."""

    submissions: tuple[SubmissionView, ...]
    """The newest first."""
    cancellable: frozenset[str]
    """Ids of those that they may cancel."""
    repeatable: frozenset[str]
    """Ids of those that they may submit again."""
    now_ms: int


def list_for(db: Database, limit: int, who: Actor, submitter: str, *, own: bool = False) -> ListedSubmissions:
    """Return the newest submissions that somebody may see, with what they may do about each.

    Args:
        db: the database.
        limit: most of them.
        who: who looks.
        submitter: for whom their work counts, see `store.submitters`.
        own: only those that are theirs.
    """
    with db.snapshot() as session:
        rows = session.scalars(visible_submissions(limit, who, own=own)).all()
        return ListedSubmissions(
            submissions=view_submissions(session, rows, who),
            cancellable=frozenset(
                row.id for row in rows if State.CANCELLED in LEGAL[State(row.state)] and who.may_change(row)
            ),
            repeatable=frozenset(row.id for row in rows if may_repeat(row, who, submitter)),
            now_ms=database_now_ms(session),
        )


def may_repeat(row: SubmissionRow, who: Actor, submitter: str) -> bool:
    """Tell whether somebody may submit what came to nothing again."""
    ended = State(row.state) not in _NOT_AGAIN and row.approval != Approval.DECLINED
    return ended and who.may_submit_again(row, submitter)


def earlier_submission(db: Database, submission_id: str, who: Actor, submitter: str) -> NewSubmission:
    """Return what somebody has submitted before, as they may submit it once more.

    Its file is named only where they need not send it again.

    Args:
        db: the database.
        submission_id: which submission.
        who: who asks.
        submitter: for whom their work counts, see `store.submitters`.
    Raises:
        NotFound: there is no such submission, or it is not theirs.
    """
    with db.snapshot() as session:
        row = session.get(SubmissionRow, submission_id)
        if row is None or not who.may_submit_again(row, submitter):
            raise submission_not_found(submission_id)
        new = as_new(row)
        kept = _has_uploaded(session, submitter, new.checkpoint_sha256)
        return new if kept else new.model_copy(update={"checkpoint_sha256": ""})


def require_own_upload(db: Database, submitter: str, sha256: str) -> None:
    """Refuse a file by its hash alone from whoever has not sent that very file: hashes are shown to everybody.

    Whether somebody else has sent it is not told.

    Raises:
        InvalidSubmission: they have not, or it was deleted.
    """
    with db.snapshot() as session:
        if not _has_uploaded(session, submitter, sha256):
            raise checkpoint_missing(sha256)


def require_not_anothers(db: Database, submitter: str, sha256: str) -> None:
    """Refuse a file that others keep private, see `is_anothers`, as if it were not here.

    Raises:
        InvalidSubmission: it is one.
    """
    if is_anothers(db, submitter, sha256):
        raise checkpoint_missing(sha256)


def is_anothers(db: Database, submitter: str, sha256: str) -> bool:
    """Tell whether others have sent a file in and keep it private, and this submitter has not sent it too.

    Its hash, which stands on the page of its submission, must not be enough to have it evaluated under another name,
    and given to everybody. The models that come along are nobody's.
    """
    others = select(SubmissionRow.id).where(
        SubmissionRow.checkpoint_sha256 == sha256,
        SubmissionRow.private_checkpoint,
        SubmissionRow.checkpoint_deleted_ms.is_(None),
        SubmissionRow.submitter.not_in((submitter, ZOO)),
    )
    with db.snapshot() as session:
        return session.scalar(others.limit(1)) is not None and not _has_uploaded(session, submitter, sha256)


def as_new(row: SubmissionRow) -> NewSubmission:
    """Return what was submitted as it may be submitted once more: without a day for revealing names that has come."""
    new = as_submitted(row)
    ahead = new.anonymous and new.embargo_until is not None and new.embargo_until > datetime.now(UTC).date()
    return new if ahead else new.model_copy(update={"embargo_until": None})


def _has_uploaded(session: Session, submitter: str, sha256: str) -> bool:
    sent = select(UploadRow.sha256).where(UploadRow.submitter == submitter, UploadRow.sha256 == sha256)
    return bool(submitter) and session.scalar(sent) is not None
