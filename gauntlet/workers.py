"""The processes of the distributed engine: the worker and the sweeper."""

from __future__ import annotations

import secrets
import shutil
import signal
import socket
import threading
from collections.abc import Callable

from benchmark.errors import InvalidInput
from gauntlet.app import limits_of, make_services
from gauntlet.data import datasets_of
from gauntlet.messages import make_sender
from gauntlet.settings import Settings
from store.sweeping import SWEEPER
from store.workers import Worker
from worker.celery_app import make_celery
from worker.engine import Engine
from worker.service import serve_work, stop_at_signals
from worker.sweeper import Role, Sweeper


def run_worker(settings: Settings, device: str, tell: Callable[[str], None]) -> None:
    """Work until a signal says that it is enough.

    Args:
        settings: those of the service; redis_url must be among them.
        device: where evaluations run, "cpu" or a CUDA device.
        tell: called with the worker's name once it is ready.
    Raises:
        InvalidInput: the settings name no broker, or a database that cannot be used.
        SandboxTooWeak: this machine cannot put up the sandbox that they demand.
    """
    if settings.redis_url is None:
        raise InvalidInput.because(
            "redis_url",
            found="nothing",
            expected="the address of the Redis that the service uses",
            remedy="set GAUNTLET_REDIS_URL; without Redis, `gauntlet serve` evaluates by itself",
        )
    name = process_name(device)
    scratch = settings.var_dir / "scratch" / name.replace(":", "-")
    limits = limits_of(settings, scratch)
    worker = Worker(
        name=name,
        host=socket.gethostname(),
        devices=(device,),
        datasets=datasets_of(settings),
        sandbox=limits.sandbox.level,
    )
    services = make_services(settings, upgrading=False)
    stop = threading.Event()
    stop_at_signals(stop)
    engine = Engine(services, worker, limits, stop)
    try:
        engine.show_life()
        tell(name)
        serve_work(make_celery(settings.redis_url), engine, stop, services.db.doorbell)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        services.blobs.close()
        services.db.close()


def run_sweeper(settings: Settings, tell: Callable[[str], None]) -> None:
    """Sweep, and send messages beside it, until a signal says that it is enough.

    Args:
        settings: those of the service.
        tell: called with the sweeper's name once it is ready.
    """
    services = make_services(settings, upgrading=False)
    name = process_name("sweeper")
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stop.set())
    role = Role(services, SWEEPER, name, settings.lease_ms)
    sender = make_sender(settings, services, name)
    tell(name)
    try:
        sender.start()
        Sweeper(services, role, settings.sweep_ms).run(stop)
    finally:
        sender.stop()
        services.blobs.close()
        services.db.close()


def process_name(part: str) -> str:
    """Return a name that no other process bears."""
    return f"{socket.gethostname()}-{part}-{secrets.token_hex(3)}"
