"""A full disk at every place where something is stored, and uploads that break off: nothing is lost or left behind."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from gauntlet.admission import ZooAdmission
from gauntlet.client import Client, RefusedByService
from gauntlet.settings import Settings
from model_zoo.registry import bundled_checkpoint
from store.blobs import LocalBlobs
from store.services import Services
from store.workers import Worker
from tests.faults.boundaries import wait_at
from tests.faults.cases import USUAL
from tests.faults.programs import held_command
from tests.faults.stack import LEASE_MS, MAX_BYTES, Stack
from tests.running import running
from tests.worker.work import OPEN
from worker.engine import Engine
from worker.limits import Limits

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

FULL = 2**62
"""A floor of free space above that of any disk."""


@contextmanager
def worked_here(stack: Stack, blobs: LocalBlobs) -> Iterator[None]:
    """Work in this process, whose disk the test can fill, instead of in processes of their own."""
    for worker in stack.workers:
        worker.stop()
    stop = threading.Event()
    services = Services(stack.db, blobs, ZooAdmission(MAX_BYTES), MAX_BYTES)
    command = held_command(stack.directory)
    limits = Limits(stack.directory / "scratch", OPEN, lease_ms=LEASE_MS, beat_ms=1_000, command=command)
    engine = Engine(services, Worker(name="here", datasets=("digits",)), limits, stop)

    def work() -> None:
        while not stop.wait(0.1):
            engine.work_until_idle()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_a_disk_that_is_full_at_an_upload_is_told_and_keeps_nothing(stack: Stack) -> None:
    stack.undisturbed(USUAL)
    settings = Settings(
        var_dir=stack.directory / "other",
        database_url=stack.postgres.url,
        redis_url=stack.redis.url,
        evaluate_zoo=False,
        port=0,
    )
    with running(settings) as service, Client(service.url) as client:
        blobs = service.services.blobs
        assert isinstance(blobs, LocalBlobs)
        blobs.free_floor_bytes = FULL
        with pytest.raises(RefusedByService) as refused:
            client.upload(bundled_checkpoint(USUAL.card))
        assert (refused.value.service_code, refused.value.status) == ("storage_full", 507)
        assert service.files() == []
        blobs.free_floor_bytes = 0
        assert client.upload(bundled_checkpoint(USUAL.card)).sha256 == USUAL.card.sha256
        assert service.files() == [USUAL.card.sha256]


def test_a_disk_that_is_full_for_a_snapshot_costs_only_the_snapshot(stack: Stack) -> None:
    submission_id = stack.begin(USUAL)
    blobs = LocalBlobs(stack.blobs.root, 0)
    with worked_here(stack, blobs):
        work = wait_at(stack, submission_id, "apgd-t")
        blobs.free_floor_bytes = FULL
        stack.wait(stack.let_go(until="fab-t"), "the next attack")
        blobs.free_floor_bytes = 0
        stack.check(submission_id, USUAL)
    shard = stack.shards(submission_id)[-1]
    assert shard.attempt == 1
    assert work.checkpoint is not None


def test_a_disk_that_is_full_at_the_finish_costs_no_attempt(stack: Stack) -> None:
    submission_id = stack.begin(USUAL)
    blobs = LocalBlobs(stack.blobs.root, 0)
    with worked_here(stack, blobs):
        work = wait_at(stack, submission_id, "square")
        blobs.free_floor_bytes = FULL
        stack.let_go()
        stack.wait(lambda: stack.shards(submission_id)[-1].state == "queued", "the work given back")
        given_back = stack.shards(submission_id)[-1]
        assert (given_back.attempt, given_back.checkpoint) == (0, work.checkpoint)
        blobs.free_floor_bytes = 0
        stack.check(submission_id, USUAL)
    assert stack.shards(submission_id)[-1].attempt == 1


@pytest.mark.parametrize("broken_by", ["client", "service"])
def test_of_an_upload_that_breaks_off_nothing_is_seen(stack: Stack, broken_by: str) -> None:
    content = os.urandom(64) + bundled_checkpoint(USUAL.card).read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    incoming = stack.blobs.root / "incoming"
    port = httpx.URL(stack.url).port
    with socket.create_connection(("127.0.0.1", port or 80), timeout=60) as connection:
        head = f"PUT /api/v1/uploads/{sha256} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(content)}\r\n\r\n"
        connection.sendall(head.encode() + content[: len(content) // 2])
        stack.wait(lambda: list(incoming.iterdir()), "the first half", 60)
        if broken_by == "service":
            stack.service.kill()
    if broken_by == "service":
        (left,) = incoming.iterdir()
        stack.mend()
        os.utime(left, (0, 0))  # as old as the sweeper wants it to be
    stack.wait(lambda: not list(incoming.iterdir()), "the end of what was left", 60)
    assert not stack.blobs.exists(sha256)
    stack.check(stack.submit(USUAL), USUAL)
