"""``gauntlet worker`` and ``gauntlet sweep``: the processes of the distributed engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gauntlet.cli.console import AsJson, LogLevel, print_json

if TYPE_CHECKING:
    from gauntlet.settings import Settings

VarDir = Annotated[Path | None, typer.Option(help="Directory of all data.", show_default="./var")]


def worker(
    device: Annotated[str, typer.Option(help='Where evaluations run: "cpu", or a GPU such as "cuda:0".')] = "cpu",
    var_dir: VarDir = None,
    log_level: LogLevel = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate what the service has queued, one piece of work at a time. Run one worker for each GPU.

    It needs the settings database_url and redis_url, see docs/settings.md. Ctrl-C or SIGTERM ends it in order: what it
    is doing is given back, and whoever claims it next goes on from its last snapshot.
    """
    from gauntlet.workers import run_worker

    settings = _prepared(var_dir=var_dir, log_level=log_level, worker_devices=device)
    run_worker(settings, device, _teller("worker", as_json=as_json))


def sweep(
    var_dir: VarDir = None,
    log_level: LogLevel = None,
    as_json: AsJson = False,
) -> None:
    """Put back what dead workers held, ring again for work that nobody came for, merge what is complete.

    The distributed engine needs at least one sweeper. Any number may run: one of them has the role at a time.
    """
    from gauntlet.workers import run_sweeper

    run_sweeper(_prepared(var_dir=var_dir, log_level=log_level), _teller("sweeper", as_json=as_json))


def _prepared(**overrides: object) -> Settings:
    """Read the settings and begin to log as they say."""
    from gauntlet import logs
    from gauntlet.settings import read_settings

    settings = read_settings(**overrides)
    logs.configure(settings.log_level, settings.log_format, settings.secrets)
    return settings


def _teller(kind: str, *, as_json: bool) -> Callable[[str], None]:
    """Return what says once who it is that runs."""

    def tell(name: str) -> None:
        if as_json:
            print_json({kind: name})
        else:
            print(f"{kind} {name} is ready (Ctrl-C stops it)", flush=True)

    return tell
