"""What each may upload in a day and keep here. Counted is what was kept, never what the service failed at."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select

from benchmark.errors import Conflict
from store.database import Database, database_now_ms, upsert
from store.errors import RateLimited
from store.tables import UploadRow

_DAY_S = 24 * 3600
_GIBIBYTE = 1024**3


@dataclass(frozen=True)
class Quotas:
    """What each account, or network address of those without one, may upload.

    Args:
        bytes_a_day: within any 24 hours.
        bytes_kept: altogether, until checkpoints are deleted.
    """

    bytes_a_day: int = 20 * _GIBIBYTE
    bytes_kept: int = 100 * _GIBIBYTE


def upload_room(db: Database, quotas: Quotas, submitter: str, announced: int | None = None) -> int:
    """Return how many bytes somebody may upload now.

    Args:
        db: the database.
        quotas: what each may.
        submitter: who, see `store.submitters`.
        announced: the length that they have announced, if they have.
    Raises:
        RateLimited: they have sent too much within a day.
        Conflict: they keep too much here.
    """
    own = UploadRow.submitter == submitter
    with db.snapshot() as session:
        now = database_now_ms(session)
        day = UploadRow.sent_ms > now - _DAY_S * 1000
        kept = session.scalar(select(func.coalesce(func.sum(UploadRow.bytes), 0)).where(own)) or 0
        sent, first = session.execute(
            select(func.coalesce(func.sum(UploadRow.bytes), 0), func.min(UploadRow.sent_ms)).where(own, day)
        ).one()
    wanted = max(announced or 1, 1)
    if kept + wanted > quotas.bytes_kept:
        raise Conflict.because(
            "quota", found=f"{kept} bytes kept already", expected=f"at most {quotas.bytes_kept} bytes altogether",
            remedy="delete the checkpoints of submissions that have ended, or ask the operator for more room",
        )  # fmt: skip
    if sent + wanted > quotas.bytes_a_day:
        oldest = first if first is not None else now
        raise RateLimited("bytes uploaded", max(1, _DAY_S - int(now - oldest) // 1000))
    return int(min(quotas.bytes_kept - kept, quotas.bytes_a_day - sent))


def count_upload(db: Database, submitter: str, sha256: str, size: int) -> None:
    """Count a file that was kept; sent again by the same, it is kept once and was sent now."""
    with db.transaction() as session:
        upsert(
            session,
            UploadRow,
            {"submitter": submitter, "sha256": sha256},
            {"bytes": size, "sent_ms": database_now_ms(session)},
        )
