"""Children and workers are killed at every attack boundary: another takes over, and the result is the same."""

from __future__ import annotations

import os
import signal

import pytest

from tests.faults.boundaries import BOUNDARIES, FINISH, reached, started, wait_at
from tests.faults.cases import ATTACKS, USUAL
from tests.faults.held_child import LAST_WORD
from tests.faults.stack import Stack
from tests.servers import alive

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


@pytest.mark.parametrize("boundary", [boundary for boundary in BOUNDARIES if boundary != FINISH])
def test_a_killed_child_is_replaced_at_once(stack: Stack, boundary: str) -> None:
    submission_id = started(stack, boundary)
    work = wait_at(stack, submission_id, boundary)
    (child,) = stack.worker_of(work).children
    os.kill(child, signal.SIGKILL)
    stack.check(submission_id, USUAL)
    again = next(shard for shard in stack.shards(submission_id) if shard.id == work.id)
    assert again.attempt == 2


def test_a_child_killed_after_its_last_word_is_replaced(stack: Stack) -> None:
    """Its answer is in the pipe, but whoever was killed may have left anything."""
    submission_id = stack.begin(USUAL)
    held = stack.hold(LAST_WORD)
    work = wait_at(stack, submission_id, ATTACKS[-1])
    worker = stack.worker_of(work)
    (child,) = worker.children
    worker.pause()
    os.kill(child, signal.SIGCONT)
    stack.wait(held, "the child's last word")
    os.kill(child, signal.SIGKILL)
    worker.go_on()
    stack.check(submission_id, USUAL)
    again = next(shard for shard in stack.shards(submission_id) if shard.id == work.id)
    assert again.attempt == 2


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_the_work_of_a_killed_worker_is_done_by_another(stack: Stack, boundary: str) -> None:
    submission_id = started(stack, boundary)
    with reached(stack, submission_id, boundary) as work:
        worker = stack.worker_of(work)
        children = worker.children
        worker.kill()
    stack.check(submission_id, USUAL)
    stack.wait(lambda: not any(alive(child) for child in children), "the end of its children")
    again = next(shard for shard in stack.shards(submission_id) if shard.id == work.id)
    if boundary == FINISH:
        assert (again.attempt, again.worker) == (1, work.worker)  # only the sweeper was needed
    else:
        assert (again.attempt, again.worker == work.worker) == (2, False)
