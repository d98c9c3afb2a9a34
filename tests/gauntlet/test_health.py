"""``gauntlet health``: by exit code, for every part, against real processes' traces."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gauntlet.cli.console import ExitCode
from store.sweeping import SWEEPER, elect, resign
from store.tables import WorkerRow
from store.workers import Worker, announce
from tests.running import Running, quiet_settings, running

ROOT = Path(__file__).parents[2]


def health(part: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "gauntlet", "health", part, "--json"]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", **environment}
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment)


def code(found: subprocess.CompletedProcess[str]) -> tuple[int, str | None]:
    error = json.loads(found.stdout).get("error")
    return found.returncode, error["code"] if error else None


def test_the_service(service: Running) -> None:
    where = {"GAUNTLET_PORT": str(service.port)}
    assert code(health("serve", **where)) == (ExitCode.OK, None)
    assert code(health("serve", **where, GAUNTLET_HOST="0.0.0.0")) == (ExitCode.OK, None)  # noqa: S104
    vars(service.services.blobs)["free_floor_bytes"] = 2**62
    assert code(health("serve", **where)) == (ExitCode.UNREACHABLE, "service_unreachable")
    assert code(health("serve", GAUNTLET_PORT="1")) == (ExitCode.UNREACHABLE, "service_unreachable")


@pytest.mark.slow
def test_the_service_under_another_name(prepared: Path, tmp_path: Path) -> None:
    settings = quiet_settings(tmp_path / "var").model_copy(update={"allowed_hosts": ("gauntlet.example",)})
    with running(settings) as service:
        where = {"GAUNTLET_PORT": str(service.port)}
        assert code(health("serve", **where, GAUNTLET_ALLOWED_HOSTS="gauntlet.example")) == (ExitCode.OK, None)
        assert code(health("serve", **where))[0] == ExitCode.UNREACHABLE


@pytest.mark.slow
def test_a_worker_of_this_machine(service: Running) -> None:
    db, where = service.services.db, {"GAUNTLET_VAR_DIR": str(service.blobs.parent)}
    announce(db, Worker(name="elsewhere", host="elsewhere", datasets=("digits",)))
    assert code(health("worker", **where)) == (ExitCode.FAILED, "not_alive")
    announce(db, Worker(name="here", host=socket.gethostname(), datasets=("digits",)))
    assert code(health("worker", **where)) == (ExitCode.OK, None)
    with db.transaction() as session:
        session.get_one(WorkerRow, "here").seen_ms -= 100_000
    assert code(health("worker", **where)) == (ExitCode.FAILED, "not_alive")


@pytest.mark.slow
def test_the_sweeper(service: Running) -> None:
    db, where = service.services.db, {"GAUNTLET_VAR_DIR": str(service.blobs.parent)}
    assert code(health("sweep", **where)) == (ExitCode.FAILED, "not_alive")
    assert elect(db, SWEEPER, "somebody", 60_000)
    assert code(health("sweep", **where)) == (ExitCode.OK, None)
    resign(db, SWEEPER, "somebody")
    assert code(health("sweep", **where)) == (ExitCode.FAILED, "not_alive")


@pytest.mark.parametrize("part", [pytest.param("worker", marks=pytest.mark.slow), "sweep"])
def test_a_database_that_does_not_answer_is_told(part: str) -> None:
    found = health(part, GAUNTLET_DATABASE_URL="postgresql+psycopg://u:open-sesame@127.0.0.1:1/x")
    assert code(found) == (ExitCode.INVALID, "invalid_input")
    assert "sesame" not in found.stdout + found.stderr
