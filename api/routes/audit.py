"""The log of what people with accounts did, for maintainers."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from api.errors import responses
from api.schemas import AuditList
from api.services import Store, Who
from store.audit import list_audit
from store.database import GREATEST_NUMBER

MOST_RECORDS = 500

router = APIRouter(prefix="/audit", tags=["moderation"])


@router.get("", responses=responses(401, 403))
def read_audit(
    store: Store,
    who: Who,
    subject: Annotated[str | None, Query(max_length=200, description='Such as "submission 0194…"')] = None,
    before: Annotated[int | None, Query(ge=1, le=GREATEST_NUMBER, description="Only records older than this")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_RECORDS, description="Most records to return")] = 100,
) -> AuditList:
    """Return what was done, the latest first; `before` takes the last record's id to go on from there."""
    return AuditList(records=list_audit(store.db, who, subject=subject, before=before, limit=limit))
