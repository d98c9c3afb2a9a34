"""The one place where everything is put together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware

import api.errors
import api.routes
from gauntlet import __version__
from gauntlet.admission import ZooAdmission
from gauntlet.bundled import submit_zoo
from gauntlet.guards import BodyLimit, KnownHost, SameSite, SecurityHeaders
from gauntlet.settings import Settings, read_settings
from store.blobs import LocalBlobs
from store.database import Database
from store.migrate import upgrade
from store.reference import import_reference_boards
from store.services import Services

JSON_BYTES = 64 * 1024
FORM_EXTRA_BYTES = 256 * 1024
"""What a form may hold besides its file."""
GZIP_FROM_BYTES = 1024


def create_app(settings: Settings | None = None) -> FastAPI:
    """Bring the database up to date and return the service, ready to be served.

    Args:
        settings: by default those of the environment.
    """
    settings = settings or read_settings()
    services = make_services(settings)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with _background(settings, services):
            yield
        services.db.close()

    app = FastAPI(
        title="Gauntlet",
        description="A standardized adversarial-robustness benchmark: leaderboards, submissions and their evidence.",
        version=__version__,
        openapi_url=f"{api.routes.PREFIX}/openapi.json",
        docs_url=None,  # both load their scripts from elsewhere, which the content security policy forbids
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.services = services
    app.include_router(api.routes.router())
    api.errors.install(app)
    _guard(app, settings)
    return app


def make_services(settings: Settings) -> Services:
    """Open what the settings name: the database, brought up to date, and the blobs."""
    settings.var_dir.mkdir(parents=True, exist_ok=True)
    upgrade(settings.database_address)
    db = Database(settings.database_address)
    import_reference_boards(db)
    limit = settings.max_checkpoint_bytes
    return Services(db, LocalBlobs(settings.var_dir / "blobs"), ZooAdmission(limit), limit)


def _guard(app: FastAPI, settings: Settings) -> None:
    """Put the guards in front; the last added is the first that a request meets."""
    larger = {
        ("PUT", f"{api.routes.PREFIX}/uploads/"): settings.max_checkpoint_bytes,
        ("POST", "/submit"): settings.max_checkpoint_bytes + FORM_EXTRA_BYTES,
    }
    app.add_middleware(BodyLimit, default=JSON_BYTES, larger=larger)
    app.add_middleware(SameSite)
    app.add_middleware(KnownHost, hosts=settings.hosts_served)
    app.add_middleware(GZipMiddleware, minimum_size=GZIP_FROM_BYTES)
    app.add_middleware(api.errors.ErrorBoundary)
    app.add_middleware(SecurityHeaders)


@asynccontextmanager
async def _background(settings: Settings, services: Services) -> AsyncIterator[None]:
    """Run what works beside the answers: the zoo's submission at the start, the worker all the time."""
    jobs = [asyncio.create_task(asyncio.to_thread(submit_zoo, services))] if settings.evaluate_zoo else []
    try:
        yield
    finally:
        await asyncio.gather(*jobs)
