"""The embedded engine: from a submission to a row, and through every way of stopping."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark.errors import Conflict
from store.blobs import LocalBlobs
from store.boards import get_board
from store.claims import release
from store.services import Services
from store.submissions import get_submission
from store.sweeping import DISPATCHER, elect
from store.tables import ShardRow
from store.views import Badge, State
from tests.worker.work import (
    alive,
    children_of,
    claimed_shard,
    limits,
    played,
    shard,
    submission,
    submitted,
    wait_for,
)
from worker.context import present_work
from worker.dispatcher import Dispatcher, Options
from worker.limits import Limits

ROOT = Path(__file__).parents[2]
HANGING = "time.sleep(600)"


def engine(services: Services, home: Path, how: Limits, children: int = 2) -> Dispatcher:
    return Dispatcher(services, home, Options(children=children, sweep_ms=300, limits=how))


@pytest.mark.slow
def test_a_submission_becomes_a_row(services: Services, tmp_path: Path) -> None:
    view = submitted(services)
    worker = engine(services, tmp_path / "var", limits(tmp_path))
    worker.start()
    try:
        wait_for(lambda: get_submission(services.db, view.id).state is State.PUBLISHED, 240)
    finally:
        worker.stop()
    assert children_of(os.getpid()) == []
    (row,) = get_board(services.db, "digits", "Linf").rows
    assert (row.badge, row.submission_id, row.potentially_unreliable) == (Badge.EVALUATED, view.id, False)
    assert (row.standard_accuracy, row.robust_accuracy) == (492 / 500, 0)
    states = [transition.state for transition in get_submission(services.db, view.id).transitions]
    assert states == ["received", "checking", "queued", "running", "evaluated", "published"]


def test_a_stopped_service_goes_on_where_it_was(services: Services, tmp_path: Path) -> None:
    view = submitted(services)
    first = engine(services, tmp_path / "var", limits(tmp_path, played(HANGING)))
    first.start()
    wait_for(lambda: get_submission(services.db, view.id).state is State.CHECKING)
    first.stop()
    with services.db.snapshot() as session:
        (row,) = session.query(ShardRow).all()
    assert (row.state, row.attempt, row.lease_token) == ("queued", 0, None)

    program = 'say(type="checked", checks=[dict(code="zero_gradient", outcome="rejected", message="All are zero.")])'
    second = engine(services, tmp_path / "var", limits(tmp_path, played(program)))
    second.start()
    try:
        wait_for(lambda: get_submission(services.db, view.id).state is State.REJECTED, 5)
    finally:
        second.stop()


def test_no_more_children_run_than_allowed(services: Services, tmp_path: Path) -> None:
    for model in ("Digits_Standard", "Digits_PGD10", "Digits_FGSM"):
        submitted(services, model)
    worker = engine(services, tmp_path / "var", limits(tmp_path, played(HANGING)), children=2)
    worker.start()
    try:
        wait_for(lambda: states(services).count("running") == 2)
        time.sleep(1)
        assert sorted(states(services)) == ["queued", "running", "running"]
    finally:
        worker.stop()


def test_children_are_spread_over_the_devices(services: Services, tmp_path: Path) -> None:
    for name in ("Digits_Standard", "Digits_FGSM", "Digits_PGD2"):
        submitted(services, name)
    note = tmp_path / "devices"
    program = f"open({str(note)!r}, 'a').write(request['confinement']['device'] + ' ')\n{HANGING}"
    options = Options(3, 300, limits(tmp_path, played(program)), devices=("cuda:0", "cuda:1"))
    worker = Dispatcher(services, tmp_path / "var", options)
    worker.start()
    try:
        wait_for(lambda: note.exists() and len(note.read_text("ascii").split()) == 3)
    finally:
        worker.stop()
    assert sorted(note.read_text("ascii").split()) == ["cuda:0", "cuda:0", "cuda:1"]


def test_what_an_attempt_logs_names_its_work(services: Services, tmp_path: Path) -> None:
    named: list[dict[str, str | int]] = []

    class Names(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            named.append(dict(present_work()))

    work = claimed_shard(services)
    release(services.db, work)
    handler, logger = Names(), logging.getLogger("worker.attempt")
    logger.addHandler(handler)
    worker = engine(services, tmp_path / "var", limits(tmp_path, played("sys.exit(3)")))
    worker.start()
    try:
        wait_for(lambda: submission(services, work).state is State.FAILED)
    finally:
        worker.stop()
        logger.removeHandler(handler)
    name = (tmp_path / "var/instance").read_text(encoding="ascii").strip()
    names = {"submission": work.submission_id, "run": work.run_id, "shard": work.shard_id, "worker": name}
    assert [entry.pop("attempt") for entry in named] == [1, 1, 2, 2, 3, 3]
    assert named == [names] * 6


def test_two_services_never_share_a_directory(services: Services, tmp_path: Path) -> None:
    first = engine(services, tmp_path / "var", limits(tmp_path))
    first.start()
    try:
        with pytest.raises(Conflict, match="another running service uses"):
            engine(services, tmp_path / "var", limits(tmp_path)).start()
    finally:
        first.stop()
    third = engine(services, tmp_path / "var", limits(tmp_path))
    third.start()
    third.stop()


def test_a_dispatcher_that_is_not_elected_claims_nothing(services: Services, tmp_path: Path) -> None:
    assert elect(services.db, DISPATCHER, "another", 1_500)
    view = submitted(services)
    worker = engine(services, tmp_path / "var", limits(tmp_path, played(HANGING)))
    worker.start()
    try:
        time.sleep(0.7)
        assert get_submission(services.db, view.id).state is State.RECEIVED
        wait_for(lambda: get_submission(services.db, view.id).state is State.CHECKING, 5)
    finally:
        worker.stop()


def test_work_whose_worker_vanished_is_done_once_its_lease_has_run_out(services: Services, tmp_path: Path) -> None:
    work = claimed_shard(services)
    with services.db.transaction() as session:
        session.get_one(ShardRow, work.shard_id).lease_until = 1
    worker = engine(services, tmp_path / "var", limits(tmp_path, played(HANGING)))
    worker.start()
    try:
        wait_for(lambda: shard(services, work).attempt == 2, 5)
    finally:
        worker.stop()


def test_a_full_disk_costs_no_attempt(services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.engine._PAUSE_S", 0.1)
    work = claimed_shard(services)
    release(services.db, work)
    blobs = LocalBlobs(tmp_path / "blobs", free_floor_bytes=2**62)
    program = f"""
    with open({str(tmp_path / "runs")!r}, "a") as file:
        file.write("x")
    for name in ("report.json", "x_adv.safetensors"):
        open(name, "w").write("{{}}")
    say(type="evaluated")
    """
    worker = engine(replace(services, blobs=blobs), tmp_path / "var", limits(tmp_path, played(program)))
    worker.start()
    try:
        wait_for(lambda: (tmp_path / "runs").is_file() and (tmp_path / "runs").stat().st_size >= 5, 10)
        assert submission(services, work).state is State.RUNNING
        blobs.free_floor_bytes = 0
        wait_for(lambda: submission(services, work).state is State.FAILED, 10)
    finally:
        worker.stop()
    assert "The report is not valid" in submission(services, work).reason


SERVICE = """
import sys, threading
from pathlib import Path
from gauntlet.admission import ZooAdmission
from store.blobs import LocalBlobs
from store.database import Database
from store.claims import release
from store.services import Services
from benchmark.report import SandboxLevel
from worker.limits import Limits
from worker.sandbox import find_sandbox
from worker.context import present_work
from worker.dispatcher import Dispatcher, Options

home = Path(sys.argv[1])
db = Database(f"sqlite:///{home / 'gauntlet.sqlite'}")
services = Services(db, LocalBlobs(home / "blobs", 0), ZooAdmission(1), 1)
sandbox = find_sandbox(SandboxLevel.NAMESPACES)
limits = Limits(home / "scratch", sandbox, lease_ms=90_000, beat_ms=15_000, save_every_s=0.2)
Dispatcher(services, home / "var", Options(1, 30_000, limits)).start()
threading.Event().wait()
"""


@pytest.mark.slow
def test_a_killed_service_takes_its_children_along_and_goes_on_at_once(services: Services, tmp_path: Path) -> None:
    """The lease is 90 seconds long, but the next service of the same directory need not wait for it."""
    view = submitted(services, "Digits_PGD10")
    command = [sys.executable, "-c", SERVICE, str(tmp_path)]
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}) as service:
        try:
            wait_for(lambda: snapshot_of(services) is not None, 60)
            (child,) = children_of(service.pid)
            os.kill(child, signal.SIGSTOP)  # so that it cannot notice by itself that nobody hears it any more
        finally:
            service.send_signal(signal.SIGKILL)
    try:
        wait_for(lambda: not alive(child), 5)
    finally:
        if alive(child):
            os.kill(child, signal.SIGKILL)
    before = snapshot_of(services)

    program = """
    if not request["resume"]:
        time.sleep(600)  # the other shard, which nobody had begun
    say(type="failed", reason=f"resume {request['resume']}", fault="model")
    """
    worker = engine(services, tmp_path / "var", limits(tmp_path, played(program)))
    worker.start()
    try:
        wait_for(lambda: get_submission(services.db, view.id).state is State.FAILED, 5)
    finally:
        worker.stop()
    assert before is not None
    assert get_submission(services.db, view.id).reason == "resume True"


def states(services: Services) -> list[str]:
    with services.db.snapshot() as session:
        return [row.state for row in session.query(ShardRow).all()]


def snapshot_of(services: Services) -> str | None:
    with services.db.snapshot() as session:
        return next((row.checkpoint for row in session.query(ShardRow).all() if row.checkpoint), None)
