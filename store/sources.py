"""Other models of a board, whose examples are tried on one, or that its examples are carried over to."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from store.tables import EntryRow, SubmissionRow
from store.views import Badge, Source

MOST_SOURCES = 3


def most_robust_others(session: Session, submission: SubmissionRow) -> list[Source]:
    """Choose the most robust other models of the board whose files are here, each file once."""
    order = (EntryRow.best_known_robust_accuracy.desc(), EntryRow.id)
    copies = func.row_number().over(partition_by=SubmissionRow.checkpoint_sha256, order_by=order)
    others = (
        select(EntryRow.id, copies.label("copy"))
        .join(SubmissionRow, SubmissionRow.id == EntryRow.submission_id)
        .where(
            EntryRow.dataset == submission.dataset,
            EntryRow.threat_model == submission.threat_model,
            EntryRow.badge == Badge.EVALUATED,
            EntryRow.withdrawn_ms.is_(None),
            SubmissionRow.checkpoint_sha256 != submission.checkpoint_sha256,
            SubmissionRow.checkpoint_deleted_ms.is_(None),
        )
        .subquery()
    )
    found = session.execute(
        select(EntryRow.model_id, SubmissionRow.checkpoint_sha256, SubmissionRow.architecture)
        .join(others, others.c.id == EntryRow.id)
        .join(SubmissionRow, SubmissionRow.id == EntryRow.submission_id)
        .where(others.c.copy == 1)
        .order_by(*order)
        .limit(MOST_SOURCES)
    )
    return [
        Source(name=name, checkpoint_sha256=checkpoint_sha256, architecture=architecture)
        for name, checkpoint_sha256, architecture in found
    ]
