"""The REST interface, one noun per file."""

from __future__ import annotations

from fastapi import APIRouter

from api.routes import (
    account,
    accounts,
    audit,
    blobs,
    claims,
    dump,
    external_evaluations,
    health,
    leaderboards,
    metrics,
    models,
    moderation,
    progress,
    queue,
    submission_events,
    submissions,
    unverified,
    uploads,
    webhooks,
    zoo,
)

PREFIX = "/api/v1"
INTERNAL = "/internal/"
"""Where the routes are that only the service's own workers use."""


def router(*, for_workers: bool = False) -> APIRouter:
    """Return every route of the API.

    Args:
        for_workers: whether those for workers are among them.
    """
    routes = APIRouter()
    nouns = (
        account,
        accounts,
        uploads,
        submissions,
        submission_events,
        moderation,
        queue,
        audit,
        leaderboards,
        progress,
        models,
        external_evaluations,
        zoo,
        dump,
        unverified,
        claims,
        webhooks,
    )
    for noun in nouns:
        routes.include_router(noun.router, prefix=PREFIX)
    routes.include_router(health.router)
    routes.include_router(metrics.router)
    if for_workers:
        routes.include_router(blobs.router)
    return routes
