"""One holder at a time: messages that come twice, workers that wake up late, and work that nobody survives."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace

import pytest
import redis

from store.sweeping import SWEEPER
from store.tables import LeaseRow
from store.views import State
from tests.faults.boundaries import wait_at
from tests.faults.cases import USUAL
from tests.faults.programs import Program
from tests.faults.stack import Stack
from tests.servers import alive
from worker.bell import CeleryBell

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

IN_FOUR = replace(USUAL, blocks=4)


def test_every_message_delivered_twice_at_once_does_the_work_once(stack: Stack) -> None:
    """The messages of the submission itself, byte for byte, and from then on bells for whatever is queued or runs."""
    stack.undisturbed(IN_FOUR)
    for worker in stack.workers:
        worker.stop()  # a paused one would still be handed a message by the broker
    submission_id = stack.submit(IN_FOUR)
    with redis.Redis.from_url(stack.redis.url) as broker:
        messages = broker.lrange("gauntlet", 0, -1)
        assert messages
        broker.rpush("gauntlet", *messages, *messages)
    for worker in stack.workers:
        worker.begin()
    bell = CeleryBell(stack.redis.url)

    def rings_twice_until_it_is_over() -> bool:
        waiting = [shard.id for shard in stack.shards(submission_id) if shard.state in ("queued", "running")]
        bell.ring(waiting + waiting)
        return stack.state(submission_id) is State.PUBLISHED

    stack.wait(rings_twice_until_it_is_over, "the result")
    stack.check(submission_id, IN_FOUR)
    assert [(shard.kind, shard.attempt) for shard in stack.shards(submission_id)] == [
        ("check", 1), ("judge", 1), *[("shard", 1)] * 4,
    ]  # fmt: skip


def test_two_workers_that_claim_at_once_share_the_work(stack: Stack) -> None:
    submission_id = stack.begin(IN_FOUR)
    CeleryBell(stack.redis.url).ring([shard.id for shard in stack.shards(submission_id)])
    stack.check(submission_id, IN_FOUR)
    shards = [shard for shard in stack.shards(submission_id) if shard.kind == "shard"]
    assert [shard.attempt for shard in shards] == [1] * 4
    assert {shard.worker for shard in shards} == {worker.said("worker") for worker in stack.workers}


@pytest.mark.parametrize("meanwhile", ["another works on it", "another has finished it"])
def test_what_a_worker_writes_after_its_lease_is_discarded(stack: Stack, meanwhile: str) -> None:
    """The worker is paused and its child goes on, so that there is a result to write when it wakes up."""
    submission_id = stack.begin(USUAL)
    work = wait_at(stack, submission_id, "apgd-t")
    late = stack.worker_of(work)
    late.pause()
    stack.let_go()
    stack.wait(lambda: list(stack.directory.glob(f"var/scratch/*/{work.id}-*/report.json")), "the late result")
    if meanwhile == "another has finished it":
        stack.wait_until_final(submission_id)
    else:
        stack.wait(lambda: (again := stack.running(submission_id)) and again.worker != work.worker, "a successor")
    late.go_on()
    stack.wait(lambda: f"work {work.id} was given up: the lease is no longer held" in late.log_text, "its giving up")
    stack.wait(lambda: not late.children, "the end of its child")
    stack.check(submission_id, USUAL)
    again = next(shard for shard in stack.shards(submission_id) if shard.id == work.id)
    assert (again.attempt, again.worker == work.worker) == (2, False)


@pytest.mark.parametrize("boundary", ["check", "apgd-t"])
def test_cancelling_in_the_middle_frees_the_worker(
    stack: Stack, boundary: str, record_property: Callable[[str, object], None]
) -> None:
    submission_id = stack.submit(USUAL)
    work = wait_at(stack, submission_id, boundary)
    worker = stack.worker_of(work)
    (child,) = worker.children
    with stack.client() as client:
        assert client.cancel(submission_id).state is State.CANCELLED
    seconds = stack.wait(lambda: not alive(child) and not worker.children, "the end of the child", 30)
    record_property("seconds until the worker is free", round(seconds, 2))
    print(f"the worker was free after {seconds:.2f} s")  # noqa: T201 - shown by pytest -s
    stack.wait_until_final(submission_id, State.CANCELLED)
    assert stack.wrongs(submission_id) == []
    assert all(shard.report_sha256 is None for shard in stack.shards(submission_id))


@pytest.mark.parametrize("victim", ["child", "worker"])
def test_work_that_nobody_survives_stops_after_three_attempts(stack: Stack, victim: str) -> None:
    """As of a model that eats all memory: first of its own process, then of the whole machine."""
    submission_id = stack.begin(USUAL)
    (poison,) = [shard for shard in stack.shards(submission_id) if shard.kind == "shard"]
    for attempt in (1, 2, 3):
        worker = stack.worker_of(stack.wait_for_attempt(submission_id, attempt))
        if victim == "worker":
            worker.kill()
            worker.begin()
        else:
            (child,) = worker.children
            os.kill(child, signal.SIGKILL)
    stack.wait_until_final(submission_id, State.FAILED)
    view = stack.view(submission_id)
    assert view.fault == "service"
    assert view.reason == (
        "the evaluation broke off 3 times without an answer"
        if victim == "worker"
        else "the evaluation process ended with signal SIGKILL"
    )
    assert stack.wrongs(submission_id) == []
    failed = next(shard for shard in stack.shards(submission_id) if shard.id == poison.id)
    assert (failed.state, failed.attempt) == ("failed", 3)
    stack.mend()
    stack.check(stack.begin(USUAL), USUAL)


def test_a_killed_sweeper_is_succeeded(stack: Stack) -> None:
    """Of two sweepers one has the role. It is killed, and so is a worker: the other one brings its work back."""
    second = stack.program("sweep-2", "sweep")
    try:
        names = {second.said("sweeper"): second, stack.sweeper.said("sweeper"): stack.sweeper}
        stack.wait(lambda: _swept_by(stack) in names, "an elected sweeper")
        first = names[_swept_by(stack)]
        submission_id = stack.begin(USUAL)
        work = wait_at(stack, submission_id, "fab-t")
        first.kill()
        stack.worker_of(work).kill()
        stack.check(submission_id, USUAL)
        (successor,) = set(names.values()) - {first}
        assert names[_swept_by(stack)] is successor
    finally:
        second.kill()


def test_a_sweeper_that_wakes_up_late_does_no_harm(stack: Stack) -> None:
    """It is paused past its lease while another has the role, and still believes for a moment that it has it."""
    second: Program | None = None
    submission_id = stack.begin(USUAL)
    work = wait_at(stack, submission_id, "apgd-ce")
    stack.wait(lambda: _swept_by(stack) == stack.sweeper.said("sweeper"), "the elected sweeper")
    stack.sweeper.pause()
    try:
        second = stack.program("sweep-3", "sweep")
        name = second.said("sweeper")
        stack.wait(lambda: _swept_by(stack) == name, "a successor")
        stack.worker_of(work).kill()
        stack.wait(lambda: (shard := stack.running(submission_id)) is None or shard.attempt == 2, "the next attempt")
        stack.sweeper.go_on()
        stack.check(submission_id, USUAL)
        assert f"work {work.id} was queued again" in second.log_text
        assert f"work {work.id} was queued again" not in stack.sweeper.log_text
    finally:
        if second is not None:
            second.kill()


def _swept_by(stack: Stack) -> str:
    with stack.db.snapshot() as session:
        return session.get_one(LeaseRow, SWEEPER).holder
