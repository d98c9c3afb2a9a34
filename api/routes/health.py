"""Health: whether the service answers."""

from __future__ import annotations

from fastapi import APIRouter, Request
from sqlalchemy import text

from api.errors import responses
from api.schemas import Health
from api.services import Store

router = APIRouter(tags=["health"])


@router.get("/healthz", responses=responses())
def healthz(request: Request, store: Store) -> Health:
    """Answer once the database does."""
    with store.db.snapshot() as session:
        session.execute(text("SELECT 1"))
    return Health(status="ok", version=request.app.version)
