"""A worker of the distributed engine as a process, on a real broker, with small programs in place of evaluations."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import redis

from store.claims import release
from store.services import Services
from store.submissions import get_submission
from store.views import State
from store.workers import list_workers
from tests.servers import RedisServer
from tests.worker.work import claimed_shard, played, shard, submitted, wait_for
from worker.bell import CeleryBell

ROOT = Path(__file__).parents[2]
REJECTED = 'say(type="checked", checks=[dict(code="zero_gradient", outcome="rejected", message="All are zero.")])'
PROPERTIES = {"delivery_tag": "a", "delivery_info": {"exchange": "", "routing_key": "gauntlet"}, "priority": 0}
ALIEN = (
    {"body": "gASVBQAAAAAAAACMAWGULg==", "content-type": "application/x-python-serialize", "content-encoding": "binary",
     "headers": {"task": "gauntlet.work", "id": "1"}, "properties": {**PROPERTIES, "body_encoding": "base64"}},
    {"body": "[[], {}, {}]", "content-type": "application/json", "content-encoding": "utf-8",
     "headers": {"task": "os.system", "id": "2", "lang": "py"}, "properties": PROPERTIES},
    {"body": "[[1, 2, 3], {}, {}]", "content-type": "application/json", "content-encoding": "utf-8",
     "headers": {"task": "gauntlet.work", "id": "3", "lang": "py"}, "properties": PROPERTIES},
)  # fmt: skip
"""Messages of other programs, or of other versions of this one: pickled, of another task, with other arguments."""
HANGING = "time.sleep(600)"
START_S = 60

WORKER = """
import json, sys, threading
from pathlib import Path
from gauntlet.admission import ZooAdmission
from store.blobs import LocalBlobs
from store.database import Database
from store.services import Services
from store.workers import Worker
from benchmark.report import SandboxLevel
from worker.limits import Limits
from worker.sandbox import Sandbox
from worker.bell import CeleryBell
from worker.celery_app import make_celery
from worker.engine import Engine
from worker.service import serve_work

home, redis_url, command = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
db = Database(f"sqlite:///{home / 'gauntlet.sqlite'}")
services = Services(db, LocalBlobs(home / "blobs", 0), ZooAdmission(1), 1)
limits = Limits(home / "scratch", Sandbox(SandboxLevel.LIMITS), lease_ms=60_000, beat_ms=500, command=command)
stop = threading.Event()
engine = Engine(services, Worker(name="w", datasets=("digits",)), limits, stop)
serve_work(make_celery(redis_url), engine, stop, CeleryBell(redis_url))
"""


@contextmanager
def working(home: Path, redis_url: str, program: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker until the end of the block."""
    command = [sys.executable, "-c", WORKER, str(home), redis_url, json.dumps(played(program))]
    with (home / "log").open("ab") as log:
        process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def end(process: subprocess.Popen[bytes]) -> int:
    """Ask it to end and return its exit status."""
    process.send_signal(signal.SIGTERM)
    return process.wait(START_S)


def test_what_was_queued_before_it_came_is_done(services: Services, tmp_path: Path, redis_url: str) -> None:
    views = [submitted(services, model) for model in ("Digits_Standard", "Digits_PGD10")]
    with working(tmp_path, redis_url, REJECTED) as worker:
        for view in views:
            wait_for(partial(rejected, services, view.id), START_S)
        assert [known.name for known in list_workers(services.db)] == ["w"]
        assert end(worker) == 0
    assert list_workers(services.db) == ()


def test_it_comes_when_the_bell_rings_whatever_else_is_in_the_queue(
    services: Services, tmp_path: Path, redis_url: str
) -> None:
    bell = CeleryBell(redis_url)
    with working(tmp_path, redis_url, REJECTED), redis.Redis.from_url(redis_url) as broker:
        wait_for(lambda: list_workers(services.db) and broker.llen("gauntlet") == 0, START_S)
        bell.ring([12_345])  # there is no such work
        for message in ALIEN:
            broker.lpush("gauntlet", json.dumps(message))
        wait_for(lambda: broker.llen("gauntlet") == 0, START_S)
        view = submitted(services)
        bell.ring([1])
        wait_for(lambda: rejected(services, view.id), START_S)


@pytest.mark.slow
def test_a_worker_that_the_broker_confuses_does_not_end_as_if_all_were_well(
    services: Services, tmp_path: Path, redis_url: str
) -> None:
    """A supervisor starts it again, and the next one does the work."""
    with working(tmp_path, redis_url, REJECTED) as worker, redis.Redis.from_url(redis_url) as broker:
        wait_for(lambda: list_workers(services.db) and broker.llen("gauntlet") == 0, START_S)
        broker.lpush("gauntlet", b"no message at all")
        assert worker.wait(START_S) != 0
    assert list_workers(services.db) == ()
    view = submitted(services)
    with working(tmp_path, redis_url, REJECTED):
        wait_for(lambda: rejected(services, view.id), START_S)


def test_a_signal_ends_it_and_gives_its_work_back(services: Services, tmp_path: Path, redis_url: str) -> None:
    work = claimed_shard(services)
    release(services.db, work)
    with working(tmp_path, redis_url, HANGING) as worker:
        wait_for(lambda: shard(services, work).state == "running", START_S)
        started = time.monotonic()
        assert end(worker) == 0
        assert time.monotonic() - started < 30
    given_back = shard(services, work)
    assert (given_back.state, given_back.attempt, given_back.lease_token) == ("queued", 0, None)
    assert list_workers(services.db) == ()


@pytest.mark.slow
def test_it_waits_for_a_broker_and_hears_it_again_after_it_was_away(services: Services, tmp_path: Path) -> None:
    with RedisServer() as server:
        server.kill()
        with working(tmp_path, server.url, REJECTED) as worker:
            wait_for(lambda: list_workers(services.db), START_S)
            time.sleep(2)
            assert worker.poll() is None
            for model in ("Digits_Standard", "Digits_PGD10"):
                server.start()
                done = partial(heard, services, server, submitted(services, model).id)
                wait_for(done, START_S)
                server.kill()
            assert end(worker) == 0


@pytest.mark.parametrize("known", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_it_ends_while_it_waits_for_a_broker(services: Services, tmp_path: Path, known: bool) -> None:
    with RedisServer() as server:
        if not known:
            server.kill()
        with working(tmp_path, server.url, REJECTED) as worker:
            wait_for(lambda: list_workers(services.db), START_S)
            if known:
                view = submitted(services)
                wait_for(lambda: heard(services, server, view.id), START_S)
                server.kill()
            time.sleep(2)
            assert end(worker) == 0
    assert list_workers(services.db) == ()


def rejected(services: Services, submission_id: str) -> bool:
    """Whether somebody came, and did what the small program says."""
    return get_submission(services.db, submission_id).state is State.REJECTED


def heard(services: Services, server: RedisServer, submission_id: str) -> bool:
    """Ring, and tell whether somebody came."""
    CeleryBell(server.url).ring([1])
    return rejected(services, submission_id)
