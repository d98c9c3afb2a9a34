"""``gauntlet health``: whether the part of the service that runs on this machine does its work."""

from __future__ import annotations

import socket
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.errors import ErrorDetail, GauntletError
from gauntlet.cli.console import AsJson, print_json

if TYPE_CHECKING:
    from gauntlet.settings import Settings

TIMEOUT_S = 8.0
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - to know them, not to listen there


class Part(StrEnum):
    """What may run on a machine; named as the command that runs it."""

    SERVE = "serve"
    WORKER = "worker"
    SWEEP = "sweep"


class NotAlive(GauntletError):
    """A part of the service shows no sign of life."""

    code = "not_alive"


def health(
    part: Annotated[Part, typer.Argument(help="The command whose process is asked for.")], as_json: AsJson = False
) -> None:
    """Tell whether the service, a worker or the sweeper works, by exit code; made for the health checks of containers.

    The service is asked whether it is ready. Workers and sweepers are looked up in the database: a worker of this
    machine must have shown life, and somebody must have the role of the sweeper.
    """
    from gauntlet.settings import read_settings

    settings = read_settings()
    if part is Part.SERVE:
        _ask_service(settings)
    else:
        _look_up(settings, part)
    if as_json:
        print_json({"part": part.value, "healthy": True})
    else:
        print(f"{part.value} is well")


def _ask_service(settings: Settings) -> None:
    import httpx

    from gauntlet.client import ServiceUnreachable

    host = WILDCARDS.get(settings.host, settings.host)
    address = f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"
    name = settings.hosts_served[0]
    try:
        headers = {} if name == "*" else {"Host": f"[{name}]" if ":" in name else name}
        answer = httpx.get(f"{address}/readyz", headers=headers, timeout=TIMEOUT_S, trust_env=False)
    except httpx.HTTPError:
        answer = None
    if answer is None or answer.status_code != 200:
        found = "no answer" if answer is None else f"an answer with status {answer.status_code}"
        detail = ErrorDetail("service", f"{found} at {address}", "a service that is ready", "see its log")
        raise ServiceUnreachable(f"The service at {address} is not ready.", detail)


def _look_up(settings: Settings, part: Part) -> None:
    from gauntlet.app import open_database
    from store.sweeping import SWEEPER, is_held
    from store.workers import list_workers

    db = open_database(settings, upgrading=False)
    try:
        if part is Part.SWEEP:
            alive = is_held(db, SWEEPER)
        else:
            here = [worker for worker in list_workers(db) if worker.host == socket.gethostname()]
            alive = any(worker.silent_ms < settings.lease_ms for worker in here)
    finally:
        db.close()
    if not alive:
        detail = ErrorDetail(part.value, "none that shows life", "a process that does", "see its log, or start it")
        raise NotAlive(f"No {part.value} has shown life lately.", detail)
