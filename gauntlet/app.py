"""The one place where everything is put together."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

from alembic.util import CommandError
from fastapi import FastAPI
from sqlalchemy.exc import SQLAlchemyError
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware

import api.description
import api.errors
import api.routes
import web
from api.events import Streams
from api.metrics import Metrics
from api.parts import Parts
from api.readiness import Probes
from api.routes import blobs
from api.routes.blobs import WorkerAccess
from benchmark.dataset_files import data_directory
from benchmark.errors import GauntletError, InvalidInput
from gauntlet import __version__
from gauntlet.access import Access, Handled, log_request
from gauntlet.admission import ZooAdmission
from gauntlet.bundled import submit_zoo
from gauntlet.data import datasets_of, sandbox_with_data
from gauntlet.guards import BodyLimit, HeadAsGet, KnownHost, SameSite, SecurityHeaders
from gauntlet.identity import Identity
from gauntlet.messages import make_sender
from gauntlet.rates import CountedRates
from gauntlet.settings import Settings, read_settings
from gauntlet.storage import open_blobs, require_own_storage
from gauntlet.zoo_files import PermissiveFiles
from model_zoo.downloads.places import Places
from store.database import Database
from store.doorbell import Doorbell, Silence
from store.migrate import require_newest, upgrade
from store.quotas import Quotas
from store.rates import Uncounted
from store.reference import import_reference_boards
from store.services import Services
from worker.dispatcher import Dispatcher, Options
from worker.handover import MAX_FILE_BYTES
from worker.limits import Limits
from worker.sender import Sender

JSON_BYTES = 64 * 1024
POINTS_JSON_BYTES = 256 * 1024
"""A body that may name every point of a board."""
FORM_EXTRA_BYTES = 256 * 1024
"""What a form may hold besides its file."""
GZIP_FROM_BYTES = 1024
WEIGHTS = "application/octet-stream"
"""Large, and smaller by next to nothing when compressed."""


def create_app(settings: Settings | None = None) -> FastAPI:
    """Bring the database up to date and return the service, ready to be served.

    Args:
        settings: by default those of the environment.
    """
    settings = settings or read_settings()
    require_own_storage(settings)
    services = make_services(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        try:
            dispatcher = await asyncio.to_thread(_started_dispatcher, settings, services)
        except GauntletError as failure:
            app.state.failure = failure
            raise
        sender = _started_sender(settings, services, dispatcher)
        zoo = asyncio.create_task(asyncio.to_thread(submit_zoo, services)) if settings.evaluate_zoo else None
        forgetting = asyncio.create_task(app.state.parts.keep_forgetting())
        try:
            yield
        finally:
            forgetting.cancel()
            if zoo is not None:
                await zoo
            for part in (sender, dispatcher):
                if part is not None:
                    await asyncio.to_thread(part.stop)
            services.blobs.close()
            services.db.close()

    app = FastAPI(
        title="Gauntlet",
        description=api.description.TEXT,
        version=__version__,
        openapi_url=f"{api.routes.PREFIX}/openapi.json",
        docs_url=None,  # both load their scripts from elsewhere, which the content security policy forbids
        redoc_url=None,
        generate_unique_id_function=api.description.name_operation,
        lifespan=lifespan,
    )
    api.description.complete(app)
    _equip(app, settings, services)
    app.include_router(api.routes.router(for_workers=settings.worker_token is not None))
    web.install(app)
    api.errors.install(app, web.error_page)
    _guard(app, settings, app.state.metrics)
    return app


def _equip(app: FastAPI, settings: Settings, services: Services) -> None:
    """Put where routes find it what they work with."""
    app.state.services = services
    app.state.probes = _probes(settings, services)
    app.state.metrics = Metrics(services, __version__, settings.metrics_token)
    app.state.streams = Streams()
    app.state.parts = Parts(settings.var_dir.absolute() / "parts")
    app.state.failure = None
    app.state.zoo = PermissiveFiles(Places.from_environment())
    if settings.worker_token is not None:
        app.state.worker_access = WorkerAccess(settings.worker_token, MAX_FILE_BYTES)


def make_services(settings: Settings, *, upgrading: bool = True) -> Services:
    """Open what the settings name: the database and the blobs.

    Args:
        settings: the settings.
        upgrading: bring the database up to date; otherwise it must be so already.
    """
    settings.var_dir.mkdir(parents=True, exist_ok=True)
    db = open_database(settings, upgrading=upgrading)
    limit = settings.max_checkpoint_bytes
    try:
        return Services(
            db,
            open_blobs(settings),
            ZooAdmission(limit),
            limit,
            quotas=Quotas(settings.upload_bytes_per_day, settings.upload_bytes_kept),
            rates=CountedRates(settings.redis_url) if settings.rate_limits == "on" else Uncounted(),
            registration=settings.registration == "open",
            approval=settings.approval == "on",
            unverified_days=settings.unverified_days,
            webhooks=settings.webhooks == "on",
        )
    except BaseException:
        db.close()
        raise


def open_database(settings: Settings, *, upgrading: bool) -> Database:
    """Open the database that the settings name.

    Args:
        settings: the settings.
        upgrading: bring it up to date; otherwise it must be so already.
    Raises:
        InvalidInput: it cannot be used.
    """
    address = settings.database_address
    with database_errors_told():
        if upgrading:
            upgrade(address)
        else:
            require_newest(address)
        db = Database(address, _doorbell(settings))
        if upgrading:
            import_reference_boards(db)
    return db


@contextmanager
def database_errors_told() -> Iterator[None]:
    """Say of whatever the database cannot do that it is the database, in one line and without its address."""
    try:
        yield
    except (SQLAlchemyError, CommandError, ModuleNotFoundError) as error:
        # The driver's own words, without the address: it may hold a password.
        reason = str(getattr(error, "orig", None) or error).partition("\n")[0]
        raise InvalidInput.because(
            "database_url",
            found=f"a database that cannot be used ({reason})",
            expected="a database that can be reached and that this version or an older one has made",
            remedy="correct GAUNTLET_DATABASE_URL, or put a sound copy of the file in its place",
        ) from error


def _doorbell(settings: Settings) -> Doorbell:
    if settings.redis_url is None:
        return Silence()  # the embedded engine, where there is one, sets its own
    from worker.bell import CeleryBell  # loads Celery, which the embedded service does without

    return CeleryBell(settings.redis_url)


def _probes(settings: Settings, services: Services) -> Probes:
    if settings.redis_url is None:
        return Probes(services)
    from worker.bell import CeleryBell

    return Probes(services, CeleryBell(settings.redis_url).answers)


def _guard(app: FastAPI, settings: Settings, metrics: Metrics) -> None:
    """Put the guards in front; the last added is the first that a request meets."""
    larger = {
        ("PUT", f"{api.routes.PREFIX}/uploads/"): settings.max_checkpoint_bytes,
        ("PUT", blobs.router.prefix): MAX_FILE_BYTES,
        ("POST", f"{api.routes.PREFIX}/models/"): POINTS_JSON_BYTES,
        ("POST", "/submit"): settings.max_checkpoint_bytes + FORM_EXTRA_BYTES,
        ("POST", "/models/"): settings.max_checkpoint_bytes + FORM_EXTRA_BYTES,
    }
    app.add_middleware(Identity, db=app.state.services.db, open_house=settings.open_house)
    app.add_middleware(BodyLimit, default=JSON_BYTES, larger=larger)
    app.add_middleware(SameSite)
    app.add_middleware(KnownHost, hosts=settings.hosts_served)
    app.add_middleware(
        GZipMiddleware, minimum_size=GZIP_FROM_BYTES, exclude_content_types=(*DEFAULT_EXCLUDED_CONTENT_TYPES, WEIGHTS)
    )
    app.add_middleware(api.errors.ErrorBoundary)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(HeadAsGet, unless=api.routes.INTERNAL)
    app.add_middleware(Access, api_prefix=api.routes.PREFIX, tell=(log_request, partial(_count, metrics)))


def _count(metrics: Metrics, handled: Handled) -> None:
    metrics.count_request(handled.method, handled.route, handled.status, handled.seconds)


def _started_dispatcher(settings: Settings, services: Services) -> Dispatcher | None:
    """Start the embedded worker; None where the settings want none."""
    if not settings.worker_children or settings.redis_url is not None:
        return None
    limits = limits_of(settings, settings.var_dir / "scratch")
    options = Options(
        settings.worker_children, settings.sweep_ms, limits, settings.worker_devices, datasets_of(settings)
    )
    dispatcher = Dispatcher(services, settings.var_dir, options)
    dispatcher.start()
    return dispatcher


def _started_sender(settings: Settings, services: Services, dispatcher: Dispatcher | None) -> Sender | None:
    """Start what sends messages, where work is done; in the distributed engine that is where it is swept."""
    if dispatcher is None:
        return None
    sender = make_sender(settings, services, f"service-{secrets.token_hex(6)}")
    sender.start()
    return sender


def limits_of(settings: Settings, scratch: Path) -> Limits:
    """Return how the settings have attempts run.

    Raises:
        SandboxTooWeak: this machine cannot put up the sandbox that they demand.
    """
    data_dir = data_directory(settings.data_dir).absolute()
    return Limits(
        scratch=scratch,
        sandbox=sandbox_with_data(settings.sandbox_minimum, data_dir),
        data_dir=data_dir,
        lease_ms=settings.lease_ms,
        beat_ms=settings.beat_ms,
        threads=settings.worker_threads,
    )
