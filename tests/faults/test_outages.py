"""The broker and the database are away, for a moment or for long: the work waits, or goes on, by itself."""

from __future__ import annotations

import os
import signal
import time

import httpx
import pytest

from store.views import State
from tests.faults.boundaries import wait_at
from tests.faults.cases import USUAL
from tests.faults.stack import LEASE_MS, Stack

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


@pytest.mark.parametrize("outage", ["killed", "paused"])
def test_work_submitted_while_the_broker_is_away_begins_when_it_is_back(stack: Stack, outage: str) -> None:
    stack.undisturbed(USUAL)
    if outage == "killed":
        stack.redis.kill()
    else:
        os.kill(stack.redis.pid, signal.SIGSTOP)
    try:
        started = time.monotonic()
        submission_id = stack.submit(USUAL)
        assert time.monotonic() - started < 30  # the answer does not wait until the broker is back
        assert stack.state(submission_id) is State.RECEIVED
        ready = httpx.get(f"{stack.url}/readyz", timeout=30)
        assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
    finally:
        if outage == "killed":
            stack.redis.start()
        else:
            os.kill(stack.redis.pid, signal.SIGCONT)
    stack.check(submission_id, USUAL)


def test_work_goes_on_to_its_end_without_a_broker(stack: Stack) -> None:
    first = stack.begin(USUAL)
    work = wait_at(stack, first, "apgd-ce")
    stack.redis.kill()
    waiting = stack.submit(USUAL)
    stack.check(first, USUAL)
    assert next(shard.attempt for shard in stack.shards(first) if shard.id == work.id) == 1
    stack.redis.start()
    stack.check(waiting, USUAL)


def test_workers_start_and_end_without_a_broker(stack: Stack) -> None:
    """A worker at work and an idle one end in order while the broker is away, and new ones wait for it."""
    submission_id = stack.begin(USUAL)
    work = wait_at(stack, submission_id, "apgd-t")
    stack.redis.kill()
    stack.wait(lambda: all(_misses_broker(worker.log_text) for worker in stack.workers), "a lost connection", 60)
    busy = stack.worker_of(work)
    (idle,) = (worker for worker in stack.workers if worker is not busy)
    assert busy.stop() < 60
    assert idle.stop() < 60
    given_back = next(shard for shard in stack.shards(submission_id) if shard.id == work.id)
    assert (given_back.state, given_back.attempt) == ("queued", 0)
    busy.begin()
    busy.said("worker")
    time.sleep(3)
    assert busy.running
    stack.redis.start()
    stack.check(submission_id, USUAL)


@pytest.mark.parametrize("back", ["before the lease ends", "after it"])
def test_a_database_that_is_away_in_the_middle_of_a_shard(stack: Stack, back: str) -> None:
    submission_id = stack.begin(USUAL)
    work = wait_at(stack, submission_id, "apgd-ce")
    worker = stack.worker_of(work)
    stack.postgres.kill()
    if back == "after it":
        seconds = stack.wait(lambda: not worker.children, "the end of a child without a lease", 60)
        assert seconds > LEASE_MS / 1000 / 2
    else:
        time.sleep(1)
    stack.postgres.start()
    stack.check(submission_id, USUAL)
    attempts = next(shard.attempt for shard in stack.shards(submission_id) if shard.id == work.id)
    assert attempts == (2 if back == "after it" else 1)


def test_while_the_database_is_away_the_service_says_so_and_then_goes_on(stack: Stack) -> None:
    stack.undisturbed(USUAL)
    stack.postgres.kill()
    with httpx.Client(base_url=stack.url, timeout=60) as http:
        assert http.get("/healthz").status_code == 200
        ready = http.get("/readyz")
        assert ready.status_code == 503
        listed = http.get("/api/v1/submissions")
        assert listed.status_code == 503
        assert set(listed.json()["error"]) == {"code", "message", "detail"}
        assert http.get("/submissions").status_code == 503
        stack.postgres.start()
        stack.wait(lambda: http.get("/readyz").status_code == 200, "a service that is ready again", 60)
    stack.check(stack.submit(USUAL), USUAL)


def test_workers_that_heard_the_bell_while_the_database_was_away_work_when_it_is_back(stack: Stack) -> None:
    submission_id = stack.begin(USUAL)
    work = wait_at(stack, submission_id, "apgd-ce")
    stack.worker_of(work).kill()
    stack.postgres.kill()
    time.sleep(LEASE_MS / 1000 + 2)
    stack.postgres.start()
    stack.check(submission_id, USUAL)


def _misses_broker(log: str) -> bool:
    return "Connection to broker lost" in log
