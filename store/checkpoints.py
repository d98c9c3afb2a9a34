"""Checkpoints of entries: whether they are kept, and those that authors let others have."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import select

from benchmark.errors import Conflict, NotFound
from store.blobs import Blobs
from store.database import Database
from store.tables import EntryRow, SubmissionRow


def find_checkpoint(db: Database, blobs: Blobs, dataset: str, threat_model: str, model_id: str) -> Path:
    """Return the file of an entry, to be opened soon.

    Raises:
        NotFound: there is no such entry, or none whose file is for others; which of these is not told.
    """
    named = (EntryRow.dataset == dataset, EntryRow.threat_model == threat_model, EntryRow.model_id == model_id)
    given = (
        SubmissionRow.private_checkpoint.is_(False),
        SubmissionRow.anonymous.is_(False),
        EntryRow.anonymous.is_(False),
        EntryRow.withdrawn_ms.is_(None),
    )
    with db.snapshot() as session:
        sha256 = session.scalar(
            select(SubmissionRow.checkpoint_sha256)
            .join(EntryRow, EntryRow.submission_id == SubmissionRow.id)
            .where(*named, *given)
        )
    if sha256 is not None and blobs.exists(sha256):
        return blobs.path(sha256)
    raise NotFound.because(
        "checkpoint",
        found=f"{dataset}/{threat_model}/{model_id}"[:120],
        expected="an entry evaluated here whose author lets others have its file",
        remedy="ask the authors of the model",
    )


def require_file(row: SubmissionRow, blobs: Blobs) -> None:
    """Refuse to go on with a submission whose checkpoint is gone.

    Raises:
        Conflict: it is.
    """
    if row.checkpoint_deleted_ms is not None or not blobs.exists(row.checkpoint_sha256):
        raise Conflict.because(
            "checkpoint", found="a file that was deleted", expected="the file that was submitted",
            remedy="submit the model again, under another name",
        )  # fmt: skip
