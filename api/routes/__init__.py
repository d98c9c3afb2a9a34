"""The REST interface, one noun per file."""

from __future__ import annotations

from fastapi import APIRouter

from api.routes import health, leaderboards, metrics, models, submissions, uploads

PREFIX = "/api/v1"


def router() -> APIRouter:
    """Return every route of the API."""
    routes = APIRouter()
    for noun in (uploads, submissions, leaderboards, models):
        routes.include_router(noun.router, prefix=PREFIX)
    routes.include_router(health.router)
    routes.include_router(metrics.router)
    return routes
