"""Metrics: how the service is doing, for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from starlette.exceptions import HTTPException

from api.metrics import Measured

router = APIRouter(tags=["metrics"])


@router.get("/metrics", include_in_schema=False)
def read_metrics(request: Request, metrics: Measured) -> Response:
    """Return the metrics to those who may read them; to others there is no such address."""
    if not metrics.may_read(request):
        raise HTTPException(404)
    return Response(metrics.exposition(), media_type=CONTENT_TYPE_PLAIN_0_0_4)
