"""Health: whether the process lives, and whether it can do its work."""

from __future__ import annotations

from fastapi import APIRouter, Request

from api.errors import responses
from api.readiness import Ready
from api.schemas import Health, Readiness

router = APIRouter(tags=["health"])


@router.get("/healthz", responses=responses())
async def healthz(request: Request) -> Health:
    """Answer as long as the process is alive, whatever it lacks: a process that answers need not be started again."""
    return Health(status="ok", version=request.app.version)


@router.get("/readyz", responses=responses(503))
async def readyz(probes: Ready) -> Readiness:
    """Answer 200 while the database and the blobs can be used, else 503 with the part that cannot.

    A broker that is down only delays work, so it is told and does not make the service unready.
    """
    broker = await probes.ask()
    return Readiness(status="degraded" if broker == "down" else "ready", broker=broker)
