"""Who gets which work, with real workers: drained ones, unfit ones, priorities, turns, closer looks, shutdowns."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from sqlalchemy import select

from benchmark.data_formats.classes import listed_images
from store.boards import get_model
from store.tables import RunRow, TransitionRow
from store.views import Purpose, State
from tests.benchmark.data_files import drawn, write_image
from tests.faults.boundaries import merging, wait_at
from tests.faults.cases import FLAGGED, USUAL, Case
from tests.faults.programs import Program
from tests.faults.stack import Stack
from worker.bell import CeleryBell

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

TINY = Case("Digits_Standard", points=8, protocol="apgd-ce(steps=2)-1")


@pytest.mark.parametrize("boundary", ["check", "fab-t"])
def test_a_worker_that_is_told_to_end_gives_its_work_back(stack: Stack, boundary: str) -> None:
    stack.undisturbed(USUAL)
    submission_id = stack.submit(USUAL) if boundary == "check" else stack.begin(USUAL)
    work = wait_at(stack, submission_id, boundary)
    other = next(worker for worker in stack.workers if worker is not stack.worker_of(work))
    with drained(stack, other):
        seconds = stack.worker_of(work).stop()
        assert seconds < 60
        given_back = next(shard for shard in stack.shards(submission_id) if shard.id == work.id)
        assert (given_back.state, given_back.attempt, given_back.lease_token) == ("queued", 0, None)
        assert given_back.checkpoint == work.checkpoint
    if work.checkpoint is not None:
        stack.wait(
            lambda: any(shard.checkpoint not in (None, work.checkpoint) for shard in stack.shards(submission_id)),
            "the next snapshot",
        )
        (later,) = (shard.checkpoint for shard in stack.shards(submission_id) if shard.checkpoint)
        assert stack.attacks_done(later) >= stack.attacks_done(work.checkpoint)  # it did not begin again
    stack.check(submission_id, USUAL)
    assert [shard.attempt for shard in stack.shards(submission_id)] == [1, 1, 1]  # its check, shard and judging
    assert work.worker not in {worker["name"] for worker in json.loads(stack.command("queue", "workers", "--json"))}


def test_a_drained_worker_ends_what_it_has_and_claims_nothing_more(stack: Stack) -> None:
    first = stack.begin(USUAL)
    work = wait_at(stack, first, "apgd-ce")
    busy, other = stack.worker_of(work), next(w for w in stack.workers if w is not stack.worker_of(work))
    with drained(stack, busy), drained(stack, other):
        second = stack.submit(USUAL)
        stack.let_go()
        stack.wait(lambda: any(shard.kind == "judge" for shard in stack.shards(first)), "the end of what it had")
        assert [(shard.kind, shard.state, shard.attempt) for shard in stack.shards(first)] == [
            ("check", "done", 1), ("judge", "queued", 0), ("shard", "done", 1),
        ]  # fmt: skip
        assert stack.state(second) is State.RECEIVED
    stack.check(first, USUAL)
    stack.check(second, USUAL)


@pytest.mark.parametrize("lacking", ["data set", "device"])
def test_a_worker_that_lacks_something_claims_nothing_that_needs_it(stack: Stack, lacking: str) -> None:
    """It hears the bells that the others need; the work is done all the same once somebody comes who can do it."""
    stack.undisturbed(TINY)
    for worker in stack.workers:
        worker.stop()
    write_image(stack.directory / "data/imagenet/val" / listed_images()[0], drawn(1, 256)[0])  # by which it is told
    unfit = stack.program(
        "unfit",
        "worker",
        WORKER_DATASETS="imagenet" if lacking == "data set" else "digits",
        DATA_DIR=str(stack.directory / "data"),
    )
    try:
        unfit.said("worker")
        submission_id = stack.submit(replace(TINY, needs_cuda=lacking == "device"))
        (work,) = stack.shards(submission_id)
        bell = CeleryBell(stack.redis.url)
        for _ in range(20):
            bell.ring([work.id])
        stack.wait(lambda: stack.bells() == 0, "nobody's coming for all the bells")
        assert stack.state(submission_id) is State.RECEIVED
        if lacking == "device":
            with stack.sql() as connection:
                connection.execute("UPDATE run SET needs_cuda = false WHERE submission_id = %s", (submission_id,))
        else:
            stack.workers[0].begin()
            stack.workers[0].said("worker")
        stack.check(submission_id, TINY)
        expected = unfit if lacking == "device" else stack.workers[0]
        assert {shard.worker for shard in stack.shards(submission_id)} == {expected.said("worker")}
    finally:
        unfit.kill()


def test_priorities_and_turns_decide_who_is_served(stack: Stack) -> None:
    """Three of one submitter, then one of another, and a maintainer who puts the last of the first one in front."""
    stack.undisturbed(TINY)
    stack.workers[1].stop()
    stack.workers[0].pause()
    many = [stack.submit(TINY, address="127.0.0.2") for _ in range(3)]
    one = stack.submit(TINY, address="127.0.0.3")
    stack.command("queue", "priority", many[2], "10")
    shown = json.loads(stack.command("queue", "show", "--json"))
    assert [piece["submission_id"] for piece in shown] == [many[2], many[0], many[1], one]
    stack.workers[0].go_on()
    for submission_id in (*many, one):
        stack.check(submission_id, TINY)
    with stack.db.snapshot() as session:
        checked = session.scalars(
            select(TransitionRow.submission_id)
            .where(TransitionRow.state == State.CHECKING, TransitionRow.submission_id.in_([*many, one]))
            .order_by(TransitionRow.id)
        ).all()
    # The favoured one is served as a whole. It was its submitter's turn, so the other one is next.
    assert checked == [many[2], one, many[0], many[1]]


@pytest.mark.parametrize("victim", ["nobody", "worker", "worker that merges", "poison"])
def test_a_flagged_entry_is_looked_at_closer(stack: Stack, victim: str) -> None:
    """Whoever dies of it, the entry stays; a closer look that nobody survives is given up."""
    submission_id = stack.begin(FLAGGED)
    stack.wait(lambda: stack.state(submission_id) is State.PUBLISHED, "the entry")
    if victim == "worker that merges":
        worker = stack.worker_of(stack.wait_for_attempt(submission_id, 1))
        with merging(stack, submission_id):
            worker.kill()
    elif victim != "nobody":
        for attempt in (1, 2, 3)[: None if victim == "poison" else 1]:
            work = stack.wait_for_attempt(submission_id, attempt)
            worker = stack.worker_of(work)
            if victim == "worker":
                worker.kill()
            else:
                os.kill(worker.children[0], signal.SIGKILL)
    stack.wait_until_final(submission_id)
    assert stack.wrongs(submission_id) == []
    with stack.db.snapshot() as session:
        purposes = session.scalars(
            select(RunRow.purpose).where(RunRow.submission_id == submission_id).order_by(RunRow.id)
        ).all()
    assert purposes == [Purpose.RANKING, Purpose.FOLLOW_UP]
    name = stack.view(submission_id).submission.name
    entry = get_model(stack.db, stack.blobs, "digits", "Linf", name)
    assert entry.row.potentially_unreliable is True
    expected = stack.undisturbed(FLAGGED)
    found = stack.evidence(submission_id)
    if victim == "poison":
        assert found.reports == expected.reports[:1]
        assert len(entry.history) == 1
    else:
        assert found == expected
        assert len(entry.history) == 2
        best = min(item.robust_accuracy for item in entry.history if item.robust_accuracy is not None)
        assert entry.row.best_known_robust_accuracy == best


@contextmanager
def drained(stack: Stack, worker: Program) -> Iterator[None]:
    """Drain a worker for the time of the block."""
    name = worker.said("worker")
    stack.command("queue", "drain", name)
    try:
        yield
    finally:
        if worker.running:
            stack.command("queue", "resume", name)
