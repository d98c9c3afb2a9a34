"""Leases: one holder at a time, and nobody writes without one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from sqlalchemy.engine import make_url

from benchmark.report import CheckOutcome
from benchmark.summing_up import wilson_interval
from store.blobs import LocalBlobs
from store.claims import Beat, Claim, beat, claim, fail_attempt, release, release_worker, save_checkpoint
from store.database import Database
from store.errors import StaleClaim
from store.outcomes import finish_check, finish_shard
from store.queue import next_work
from store.submissions import cancel, get_submission, submit
from store.sweeping import sweep
from store.tables import ShardRow
from store.views import Progress, State
from tests.store.interleaving import at_once
from tests.store.material import (
    LEASE_MS,
    Rules,
    a_worker,
    check,
    expire,
    finish,
    must_claim,
    new_submission,
    running,
    shard_report,
)


def snapshot(db: Database, work: Claim) -> tuple[object, ...]:
    with db.snapshot() as session:
        shard = session.get_one(ShardRow, work.shard_id)
        row = tuple(getattr(shard, column.key) for column in ShardRow.__table__.columns)
    return (*row, get_submission(db, work.submission_id))


def test_two_claimers_at_once(db: Database, blobs: LocalBlobs, rules: Rules) -> None:
    for i in range(3):
        submit(db, blobs, new_submission(blobs, name=f"m{i}"), rules)
    outcomes = at_once(*[partial(claim, db, a_worker(f"w{i}"), LEASE_MS) for i in range(6)])
    assert [outcome.error for outcome in outcomes] == [None] * 6
    got = [outcome.result for outcome in outcomes if isinstance(outcome.result, Claim)]
    assert len({found.shard_id for found in got}) == len({found.token for found in got}) == len(got) == 3


def test_claimers_at_once_share_out_the_shards_of_a_run(db: Database, blobs: LocalBlobs) -> None:
    """Nobody goes away with empty hands, or with an error, because another is just taking a shard of the same run."""
    view = running(db, blobs, shard_points=100)
    outcomes = at_once(*[partial(claim, db, a_worker(f"w{i}"), LEASE_MS) for i in range(5)])
    assert [outcome.error for outcome in outcomes] == [None] * 5
    got = [outcome.result for outcome in outcomes if isinstance(outcome.result, Claim)]
    assert sorted(found.first for found in got) == [0, 100, 200, 300, 400]
    states = [step.state for step in get_submission(db, view.id).transitions]
    assert states == [State.RECEIVED, State.CHECKING, State.QUEUED, State.RUNNING]


def test_a_restarted_worker_queues_what_it_held_once(db: Database, blobs: LocalBlobs) -> None:
    running(db, blobs, shard_points=250)
    works = [must_claim(db, "killed"), must_claim(db, "alive")]
    assert (release_worker(db, "killed"), release_worker(db, "killed")) == (1, 0)
    again = must_claim(db, "killed")
    assert (again.shard_id, again.attempt) == (works[0].shard_id, 2)
    assert beat(db, works[1], LEASE_MS) is Beat.RENEWED


def test_claimers_on_postgresql_pass_each_other() -> None:
    """There, without a global write lock, it is the row's lock that keeps claims apart."""
    compiled = {
        name: str(next_work(a_worker()).compile(dialect=make_url(f"{name}://").get_dialect()()))
        for name in ("postgresql", "sqlite")
    }
    assert compiled["postgresql"].endswith("FOR UPDATE OF shard SKIP LOCKED")
    assert "FOR UPDATE" not in compiled["sqlite"]


def test_checks_come_before_shards_and_the_oldest_first(db: Database, blobs: LocalBlobs, rules: Rules) -> None:
    running(db, blobs, "long", shard_points=250)
    submit(db, blobs, new_submission(blobs, name="new"), rules)
    order = [must_claim(db) for _ in range(3)]
    assert [(work.kind, work.submission.name, work.first, work.last) for work in order] == [
        ("check", "new", 0, 500),
        ("shard", "long", 0, 250),
        ("shard", "long", 250, 500),
    ]


WRITES: dict[str, Callable[[Database, LocalBlobs, Claim], object]] = {
    "finish": lambda db, blobs, work: finish_shard(db, blobs, work, shard_report(work).to_bytes()),
    "checkpoint": lambda db, blobs, work: save_checkpoint(db, work, blobs.put(b"state")),
    "fail": lambda db, blobs, work: fail_attempt(db, work, "it broke", "service"),
    "fail by the model": lambda db, blobs, work: fail_attempt(db, work, "it broke", "model"),
    "release": lambda db, blobs, work: release(db, work),
}


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("meanwhile", ["expired", "swept", "taken over", "cancelled", "finished by another"])
def test_a_late_write_changes_nothing(db: Database, blobs: LocalBlobs, write: str, meanwhile: str) -> None:
    running(db, blobs)
    late = must_claim(db, "paused")
    if meanwhile == "cancelled":
        cancel(db, late.submission_id)
    else:
        expire(db, late)
    if meanwhile in ("swept", "taken over", "finished by another"):
        sweep(db, blobs)
    if meanwhile in ("taken over", "finished by another"):
        successor = must_claim(db, "successor")
        assert (successor.shard_id, successor.attempt) == (late.shard_id, 2)
        if meanwhile == "finished by another":
            assert finish(db, blobs, successor, shard_report(successor).to_bytes()) is State.PUBLISHED
    before = snapshot(db, late)
    with pytest.raises(StaleClaim):
        WRITES[write](db, blobs, late)
    assert beat(db, late, LEASE_MS, Progress(points_done=1)) is (Beat.CANCEL if meanwhile == "cancelled" else Beat.LOST)
    assert snapshot(db, late) == before


@pytest.mark.parametrize("outcome", [CheckOutcome.PASSED, CheckOutcome.REJECTED])
def test_a_late_check_changes_nothing(db: Database, blobs: LocalBlobs, rules: Rules, outcome: CheckOutcome) -> None:
    submit(db, blobs, new_submission(blobs), rules)
    late = must_claim(db)
    expire(db, late)
    before = snapshot(db, late)
    with pytest.raises(StaleClaim):
        finish_check(db, late, [check(outcome=outcome)])
    assert snapshot(db, late) == before


def test_a_beat_renews_and_tells_progress(db: Database, blobs: LocalBlobs) -> None:
    running(db, blobs)
    work = must_claim(db, lease_ms=5_000)
    progress = Progress(points=500, points_done=200, attack="fab-t", attacks_done=2, attacks=4, fraction=0.5)
    progress = progress.model_copy(
        update={"robust_accuracy_at_most": 0.75, "forward_passes": 9_000, "backward_passes": 4_000}
    )
    with db.snapshot() as session:
        before = session.get_one(ShardRow, work.shard_id)
    assert beat(db, work, LEASE_MS, progress) is Beat.RENEWED
    with db.snapshot() as session:
        after = session.get_one(ShardRow, work.shard_id)
    assert before.lease_until is not None
    assert after.lease_until is not None
    assert after.lease_until - before.lease_until > 50_000
    shown = get_submission(db, work.submission_id).progress
    assert shown == progress.model_copy(update={"robust_interval_at_most": wilson_interval(375, 500)})


def test_the_time_of_progress_is_its_own(db: Database, blobs: LocalBlobs) -> None:
    """A thread that beats while its GPU hangs renews the lease but makes no progress."""
    running(db, blobs)
    work = must_claim(db)
    beat(db, work, LEASE_MS, Progress(points_done=1))
    with db.transaction() as session:
        shard = session.get_one(ShardRow, work.shard_id)
        shard.beat_at = shard.progress_at = 1
    beat(db, work, LEASE_MS, Progress(points_done=1))
    beat(db, work, LEASE_MS)
    with db.snapshot() as session:
        shard = session.get_one(ShardRow, work.shard_id)
        assert shard.progress_at == 1
        assert shard.beat_at is not None
        assert shard.beat_at > 1
    beat(db, work, LEASE_MS, Progress(points_done=2))
    with db.snapshot() as session:
        assert (session.get_one(ShardRow, work.shard_id).progress_at or 0) > 1


def test_the_next_attempt_continues_from_the_checkpoint(db: Database, blobs: LocalBlobs) -> None:
    running(db, blobs)
    work = must_claim(db)
    saved = blobs.put(b"state")
    save_checkpoint(db, work, saved)
    fail_attempt(db, work, "out of memory", "service")
    again = must_claim(db)
    assert (again.resume_sha256, again.attempt, again.shard_id) == (saved, 2, work.shard_id)


def test_giving_work_back_counts_no_attempt(db: Database, blobs: LocalBlobs) -> None:
    running(db, blobs)
    for _ in range(5):
        work = must_claim(db)
        assert work.attempt == 1
        release(db, work)


def test_three_attempts_and_no_more(db: Database, blobs: LocalBlobs) -> None:
    view = running(db, blobs, shard_points=250)
    other = None
    for attempt in (1, 2, 3):
        work = must_claim(db)
        assert (work.first, work.attempt) == (0, attempt)
        other = other or must_claim(db, "other")
        fail_attempt(db, work, f"crash {attempt}", "service")
    failed = get_submission(db, view.id)
    assert (failed.state, failed.reason, failed.fault) == (State.FAILED, "crash 3", "service")
    assert claim(db, a_worker("w"), LEASE_MS) is None
    assert other is not None
    assert beat(db, other, LEASE_MS) is Beat.CANCEL


def test_a_fault_of_the_model_is_not_tried_again(db: Database, blobs: LocalBlobs, rules: Rules) -> None:
    view = submit(db, blobs, new_submission(blobs), rules)
    fail_attempt(db, must_claim(db), "the model returns \0 three dimensions", "model")
    failed = get_submission(db, view.id)
    assert (failed.state, failed.reason, failed.fault) == (
        State.FAILED,
        "the model returns \ufffd three dimensions",
        "model",
    )
