"""Uploads that nobody has submitted: after a week they go, so that whoever uploads and forgets fills no disk."""

from __future__ import annotations

from sqlalchemy import delete, select

from store.blobs import Blobs
from store.checkpoint_deletion import is_referred_to
from store.database import DAY_MS, Database, database_now_ms, take_turns
from store.tables import ExternalRow, SubmissionRow, UploadRow

UNUSED_DAYS = 7
"""Days after which an upload that nothing refers to is discarded."""
_AT_ONCE = 100


def discard_unused(db: Database, blobs: Blobs) -> tuple[str, ...]:
    """Discard files that were uploaded days ago and that nothing refers to; nobody's quota counts them any more.

    Returns:
        The files' SHA-256.
    """
    return tuple(sha256 for sha256 in _unused(db) if _discard(db, blobs, sha256))


def _unused(db: Database) -> list[str]:
    """Return files that nobody seems to need; one submitted for the second time may come into this list in between."""
    used = (
        select(SubmissionRow.id).where(
            SubmissionRow.checkpoint_sha256 == UploadRow.sha256, SubmissionRow.checkpoint_deleted_ms.is_(None)
        ),
        select(ExternalRow.id).where(ExternalRow.examples_sha256 == UploadRow.sha256),
    )
    with db.snapshot() as session:
        old = UploadRow.sent_ms < database_now_ms(session) - UNUSED_DAYS * DAY_MS
        unused = select(UploadRow.sha256).where(old, *(~query.exists() for query in used))
        return list(session.scalars(unused.distinct().order_by(UploadRow.sha256).limit(_AT_ONCE)))


def _discard(db: Database, blobs: Blobs, sha256: str) -> bool:
    """Discard a file, unless somebody has come to need it or has sent it again."""
    with db.transaction() as session:
        take_turns(session, "submit")  # so that nobody submits the same file at this moment
        latest = session.scalars(select(UploadRow.sent_ms).where(UploadRow.sha256 == sha256)).all()
        if not latest or max(latest) >= database_now_ms(session) - UNUSED_DAYS * DAY_MS:
            return False
        if is_referred_to(session, sha256):
            return False
        session.execute(delete(UploadRow).where(UploadRow.sha256 == sha256))
        blobs.remove(sha256)  # last, for it cannot be undone
        return True
