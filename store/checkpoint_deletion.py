"""Deleting a checkpoint: the file goes, and what is known of it, its evidence included, stays."""

from __future__ import annotations

from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session

from benchmark.errors import Conflict
from store.actors import Actor, require_changeable
from store.audit import note
from store.blobs import Blobs
from store.database import Database, database_now_ms, take_turns
from store.states import OPEN
from store.submission_views import view_submissions
from store.tables import EntryRow, ExternalRow, ReportRow, RunRow, ShardRow, SubmissionRow, UploadRow
from store.views import State, SubmissionView


def delete_checkpoint(db: Database, blobs: Blobs, submission_id: str, who: Actor | None = None) -> SubmissionView:
    """Delete the checkpoint of a submission that is not on its way.

    The file itself goes unless something else refers to it; nobody's quota counts it any more.

    Args:
        db: the database.
        blobs: where it lies.
        submission_id: whose.
        who: who asks; None for the service itself.
    Raises:
        NotFound: there is no such submission, or they may not see it.
        SignInNeeded: they must say who they are.
        Forbidden: it is not theirs.
        Conflict: it is on its way, something still needs the file, or it was deleted already.
        StorageUnavailable: the file cannot be removed now; nothing is changed.
    """
    with db.transaction() as session:
        take_turns(session, "submit")  # so that nobody submits the same file at this moment
        row = require_changeable(who, session.get(SubmissionRow, submission_id, with_for_update=True), submission_id)
        _require_idle(session, row)
        now = database_now_ms(session)
        row.checkpoint_deleted_ms = now
        session.flush()
        note(session, who.account_id if who is not None else None, "delete_checkpoint", f"submission {row.id}")
        uploads = delete(UploadRow).where(UploadRow.sha256 == row.checkpoint_sha256)
        view = view_submissions(session, [row], who)[0]
        if not is_referred_to(session, row.checkpoint_sha256):
            session.execute(uploads)
            blobs.remove(row.checkpoint_sha256)  # last, for it cannot be undone
        elif not _is_kept_for(session, row.submitter, row.checkpoint_sha256):
            session.execute(uploads.where(UploadRow.submitter == row.submitter))
        return view


def may_delete_checkpoint(db: Database, submission_id: str, who: Actor) -> bool:
    """Tell whether somebody may delete a submission's checkpoint now."""
    with db.snapshot() as session:
        row = session.get(SubmissionRow, submission_id)
        if row is None or not who.may_change(row):
            return False
        try:
            _require_idle(session, row)
        except Conflict:
            return False
        return True


def is_referred_to(session: Session, sha256: str) -> bool:
    """Tell whether something needs a blob: a submission whose checkpoint was not deleted, a report, an example."""
    wanted = (
        select(SubmissionRow.id).where(
            SubmissionRow.checkpoint_sha256 == sha256, SubmissionRow.checkpoint_deleted_ms.is_(None)
        ),
        select(ShardRow.id).where(
            or_(
                ShardRow.checkpoint == sha256,
                ShardRow.report_sha256 == sha256,
                ShardRow.x_adv_sha256 == sha256,
                ShardRow.second_sha256 == sha256,
            )
        ),
        select(RunRow.id).where(RunRow.gallery_sha256 == sha256),
        select(ReportRow.id).where(ReportRow.points_sha256 == sha256),
        select(EntryRow.id).where(EntryRow.best_known_sha256 == sha256),
        select(ExternalRow.id).where(ExternalRow.examples_sha256 == sha256),
    )
    return any(session.scalar(query.limit(1)) is not None for query in wanted)


def _is_kept_for(session: Session, submitter: str, sha256: str) -> bool:
    """Tell whether another submission of the same submitter has this checkpoint."""
    kept = select(SubmissionRow.id).where(
        SubmissionRow.submitter == submitter,
        SubmissionRow.checkpoint_sha256 == sha256,
        SubmissionRow.checkpoint_deleted_ms.is_(None),
    )
    return session.scalar(kept.limit(1)) is not None


def _require_idle(session: Session, row: SubmissionRow) -> None:
    if row.checkpoint_deleted_ms is not None:
        raise Conflict.because(
            "checkpoint", found="one that was deleted", expected="a checkpoint that is kept",
            remedy="submit the model again with its file to have it evaluated anew",
        )  # fmt: skip
    if State(row.state) in OPEN:
        raise Conflict.because(
            "submission", found=f"one that is {row.state}", expected="a submission that has ended",
            remedy="cancel it first, or wait for its result",
        )  # fmt: skip
    working = (
        select(ShardRow.id)
        .join(RunRow, RunRow.id == ShardRow.run_id)
        .where(RunRow.submission_id == row.id, ShardRow.state.in_(("queued", "running")))
        .limit(1)
    )
    if session.scalar(working) is not None:
        raise Conflict.because(
            "submission", found="a closer look, analyses or examples by others that are not done",
            expected="a submission that nobody works on", remedy="wait until they are done",
        )  # fmt: skip
