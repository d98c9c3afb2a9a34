"""Whose turn it is: priorities, checks first, submitters in turns, and only what a worker can run."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from benchmark.errors import NotFound
from store.blobs import LocalBlobs
from store.claims import MAX_ATTEMPTS, claim, fail_attempt, release
from store.database import Database
from store.outcomes import finish_check
from store.queue import FOLLOW_UP, blocks, can_run, queue_again, set_priority, view_queue
from store.submissions import cancel, submit
from store.tables import RunRow, ShardRow, SubmissionRow
from store.views import Purpose, SubmissionView
from store.workers import Worker
from tests.store.material import LEASE_MS, Rules, a_worker, check, must_claim, new_submission, running


class Bell:
    """A bell that remembers what it was rung for, and whether that could be seen by then."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.rung: list[int] = []

    def ring(self, shard_ids: Sequence[int]) -> None:
        with self._db.snapshot() as session:
            states = [session.get_one(ShardRow, shard_id).state for shard_id in shard_ids]
        assert set(states) == {"queued"}, "it was rung before the commit"
        self.rung += shard_ids

    def take(self) -> list[int]:
        """Return what it was rung for since the last time."""
        rung, self.rung = self.rung, []
        return rung


@pytest.fixture
def bell(db: Database) -> Bell:
    db.doorbell = Bell(db)
    return db.doorbell


def sent(db: Database, blobs: LocalBlobs, name: str, submitter: str = "") -> SubmissionView:
    return submit(db, blobs, new_submission(blobs, name=name), Rules(), submitter=submitter)


def order(db: Database) -> list[str]:
    """Claim all there is, and return whose it was."""
    names = []
    while (work := claim(db, a_worker(), LEASE_MS)) is not None:
        names.append(work.submission.name)
    return names


@pytest.mark.parametrize(
    ("points", "size", "expected"),
    [
        (500, 512, ((0, 500),)),
        (500, 250, ((0, 250), (250, 500))),
        (501, 250, ((0, 167), (167, 334), (334, 501))),
        (1, 250, ((0, 1),)),
    ],
)
def test_blocks_are_few_and_as_equal_as_possible(points: int, size: int, expected: tuple[tuple[int, int], ...]) -> None:
    assert blocks(points, size) == expected


def test_the_greatest_priority_comes_first(db: Database, blobs: LocalBlobs) -> None:
    views = [sent(db, blobs, name) for name in ("a", "b", "c", "d")]
    set_priority(db, views[2].id, 5)
    set_priority(db, views[0].id, FOLLOW_UP)
    assert order(db) == ["c", "b", "d", "a"]


def test_a_favoured_submission_stays_so_after_its_check(db: Database, blobs: LocalBlobs) -> None:
    favoured = running(db, blobs, "favoured", shard_points=250)
    sent(db, blobs, "other")
    set_priority(db, favoured.id, 1)
    assert order(db) == ["favoured", "favoured", "other"]


def test_submitters_take_turns(db: Database, blobs: LocalBlobs) -> None:
    for number in range(3):
        sent(db, blobs, f"many {number}", "many")
    sent(db, blobs, "one", "one")
    sent(db, blobs, "two", "two")
    assert order(db) == ["many 0", "one", "two", "many 1", "many 2"]


def test_who_has_less_running_comes_before_whose_turn_was_longer_ago(db: Database, blobs: LocalBlobs) -> None:
    sent(db, blobs, "busy 0", "busy")
    busy = must_claim(db)
    sent(db, blobs, "idle 0", "idle")
    release(db, must_claim(db))  # the latest turn, and nothing running
    sent(db, blobs, "busy 1", "busy")
    assert must_claim(db).submission.name == "idle 0"
    assert busy.submission.name == "busy 0"


def test_the_turn_of_a_submitter_outlives_its_work(db: Database, blobs: LocalBlobs) -> None:
    cancel(db, sent(db, blobs, "first", "one").id)
    sent(db, blobs, "second", "one")
    must_claim(db)
    sent(db, blobs, "third", "one")
    sent(db, blobs, "other", "other")
    assert order(db) == ["other", "third"]


@pytest.mark.parametrize(
    ("worker", "can"),
    [
        ({"datasets": ("digits",)}, False),
        ({"datasets": ("digits",), "devices": ("cuda:1",)}, True),
        ({"datasets": ("digits",), "devices": ("cpu", "cuda")}, True),
        ({"datasets": ("cifar10",), "devices": ("cuda",)}, False),
        ({"datasets": (), "devices": ("cuda",)}, False),
        ({"datasets": ("cifar10", "digits"), "devices": ("cuda",)}, True),
    ],
)
def test_work_goes_to_who_has_its_data_set_and_a_device(
    db: Database, blobs: LocalBlobs, worker: dict[str, object], can: bool
) -> None:
    sent(db, blobs, "needs a GPU")
    with db.transaction() as session:
        session.query(RunRow).one().needs_cuda = True
    fit = Worker.model_validate({"name": "w"} | worker)
    assert can_run(fit, "digits", "Linf", needs_cuda=True) is can
    assert (claim(db, fit, LEASE_MS) is not None) is can


@pytest.mark.parametrize(
    ("threat_model", "datasets", "can"),
    [
        ("corruptions", ("cifar10",), False),
        ("corruptions", ("cifar10", "cifar100-c"), False),
        ("corruptions", ("cifar10", "cifar10-c"), True),
        ("corruptions", ("cifar10-c",), False),
        ("Linf", ("cifar10",), True),
    ],
)
def test_corrupted_images_that_are_published_must_be_at_the_worker_too(
    db: Database, blobs: LocalBlobs, threat_model: str, datasets: tuple[str, ...], can: bool
) -> None:
    sent(db, blobs, "elsewhere")
    with db.transaction() as session:
        submission = session.query(SubmissionRow).one()
        submission.dataset, submission.threat_model = "cifar10", threat_model
    fit = Worker(name="w", datasets=datasets)
    assert can_run(fit, "cifar10", threat_model, needs_cuda=False) is can
    assert (claim(db, fit, LEASE_MS) is not None) is can


def test_the_bell_rings_once_work_can_be_seen(db: Database, blobs: LocalBlobs, bell: Bell) -> None:
    view = sent(db, blobs, "a")
    assert len(bell.take()) == 1
    work = must_claim(db)
    assert bell.take() == []
    release(db, work)
    assert bell.take() == [work.shard_id]
    fail_attempt(db, must_claim(db), "it broke", "service")
    assert bell.take() == [work.shard_id]
    finish_check(db, must_claim(db), [check()], parameters=1, shard_points=125)
    assert len(bell.take()) == 4
    cancel(db, view.id)
    assert bell.take() == []


def test_the_bell_is_silent_where_nothing_was_committed(db: Database, blobs: LocalBlobs, bell: Bell) -> None:
    sent(db, blobs, "a")
    for _ in range(MAX_ATTEMPTS):
        work = must_claim(db)
        bell.take()
        fail_attempt(db, work, "it broke", "service")
    assert bell.take() == []  # the last attempt: there is nothing to claim any more
    sent(db, blobs, "b")
    bell.take()

    def queue_in_vain() -> None:
        with db.transaction() as session:
            queue_again(session, session.query(ShardRow).filter_by(state="queued").one())
            raise InterruptedError

    with pytest.raises(InterruptedError):
        queue_in_vain()
    assert bell.take() == []


def test_the_queue_is_shown_as_it_is_claimed(db: Database, blobs: LocalBlobs) -> None:
    first = running(db, blobs, "first", shard_points=250)
    work = must_claim(db, "w")
    second = sent(db, blobs, "second")
    third = sent(db, blobs, "third")
    set_priority(db, third.id, 3)
    shown = [
        (piece.state, piece.submission_id, piece.kind, piece.first, piece.last, piece.priority, piece.attempt)
        for piece in view_queue(db)
    ]
    assert shown == [
        ("running", first.id, "shard", 0, 250, 0, 1),
        ("queued", third.id, "check", 0, 500, 3, 0),
        ("queued", second.id, "check", 0, 500, 0, 0),
        ("queued", first.id, "shard", 250, 500, 0, 0),
    ]
    (at_work, *waiting) = view_queue(db)
    assert (at_work.shard_id, at_work.worker, at_work.purpose) == (work.shard_id, "w", Purpose.RANKING)
    assert {(piece.worker, piece.name) for piece in waiting} == {(None, "first"), (None, "second"), (None, "third")}
    assert all(0 <= piece.waiting_ms < 60_000 for piece in waiting)


def test_the_priority_of_nothing_is_refused(db: Database) -> None:
    with pytest.raises(NotFound, match="the id of a submission"):
        set_priority(db, "nothing", 1)
