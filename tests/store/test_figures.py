"""The figures: right for what happened, and those that only grow never fall."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from sqlalchemy import event

from benchmark.errors import Conflict
from store.blobs import LocalBlobs
from store.claims import Claim, beat, claim, fail_attempt, release, release_worker
from store.database import Database
from store.errors import StaleClaim
from store.figures import Figures, read_figures, read_space
from store.outcomes import finish_check, finish_judge, finish_shard
from store.submissions import cancel, list_submissions, submit
from store.sweeping import sweep
from store.tables import RunRow, ShardRow
from store.views import Badge, Progress, State
from store.workers import announce, drain
from tests.store.material import (
    LEASE_MS,
    Rules,
    a_worker,
    check,
    expire,
    must_claim,
    new_submission,
    published,
    running,
    shard_report,
    verdicts_on,
)


def shards(figures: Figures) -> dict[tuple[str, str], int]:
    return {(found.kind, found.state): found.count for found in figures.shards if found.count}


def test_of_an_empty_service(db: Database) -> None:
    figures = read_figures(db)
    assert set(figures.submissions) == set(State)
    assert set(figures.entries) == set(Badge)
    assert not any((*figures.submissions.values(), *figures.entries.values(), *figures.failed.values()))
    assert shards(figures) == {}
    assert (figures.oldest_queued_s, figures.oldest_beat_s, figures.oldest_progress_s) == (None, None, None)
    assert (figures.failed_attempts, figures.expired_leases, figures.points_done) == (0, 0, 0)


def test_states_faults_and_badges_are_counted(db: Database, blobs: LocalBlobs, rules: Rules) -> None:
    published(db, blobs, "Method A")
    running(db, blobs, "Method B", shard_points=100)
    must_claim(db)
    submit(db, blobs, new_submission(blobs, name="Method C"), rules)
    fail_attempt(db, must_claim(db), "the model is at fault", "model")
    figures = read_figures(db)
    assert {state.value: count for state, count in figures.submissions.items() if count} == {
        "published": 1,
        "running": 1,
        "failed": 1,
    }
    assert figures.failed == {"model": 1, "service": 0}
    assert figures.entries == {Badge.EVALUATED: 1, Badge.REPORTED: 0, Badge.UNVERIFIED: 0}
    assert shards(figures) == {
        ("check", "done"): 2,
        ("check", "failed"): 1,
        ("shard", "done"): 1,
        ("shard", "running"): 1,
        ("shard", "queued"): 4,
        ("judge", "done"): 1,
    }


def test_progress_is_summed_over_all_work(db: Database, blobs: LocalBlobs) -> None:
    published(db, blobs)
    done = read_figures(db)
    assert (done.points_done, done.forward_passes, done.backward_passes) == (500, 490 + 440, 490 + 440)
    running(db, blobs, "Method B")
    work = must_claim(db)
    beat(db, work, LEASE_MS, Progress(points=500, points_done=7, forward_passes=2**53, backward_passes=11))
    figures = read_figures(db)
    assert (figures.points_done, figures.backward_passes) == (507, 941)
    assert figures.forward_passes == pytest.approx(2.0**53)


def test_ages(db: Database, blobs: LocalBlobs, rules: Rules) -> None:
    submit(db, blobs, new_submission(blobs), rules)
    with db.transaction() as session:
        session.query(ShardRow).one().queued_ms -= 60_000
    assert 60 <= (read_figures(db).oldest_queued_s or 0) < 90

    finish_check(db, must_claim(db), [check()], shard_points=500)
    figures = read_figures(db)
    assert 0 <= (figures.oldest_queued_s or 0) < 30
    assert figures.oldest_beat_s is None

    work = must_claim(db)
    with db.transaction() as session:
        row = session.get_one(ShardRow, work.shard_id)
        row.beat_at, row.progress_at = (row.beat_at or 0) - 5_000, (row.progress_at or 0) - 40_000
    figures = read_figures(db)
    assert figures.oldest_queued_s is None
    assert 5 <= (figures.oldest_beat_s or 0) < 35
    assert 40 <= (figures.oldest_progress_s or 0) < 70
    assert figures.expired_leases == 0
    expire(db, work)
    assert read_figures(db).expired_leases == 1
    sweep(db, blobs)
    figures = read_figures(db)
    assert (figures.expired_leases, figures.oldest_beat_s) == (0, None)
    assert 0 <= (figures.oldest_queued_s or 0) < 30
    with db.transaction() as session:  # queued by a version that did not note when
        for row in session.query(ShardRow):
            row.queued_ms = 0
        session.query(RunRow).one().created_ms -= 90_000
    assert 90 <= (read_figures(db).oldest_queued_s or 0) < 120


def test_workers_are_told(db: Database, blobs: LocalBlobs) -> None:
    running(db, blobs)
    for name in ("w", "x"):
        announce(db, a_worker(name))
    must_claim(db, "w")
    drain(db, "x")
    assert [(worker.name, worker.running, worker.draining) for worker in read_figures(db).workers] == [
        ("w", 1, False),
        ("x", 0, True),
    ]


def test_only_attempts_that_came_to_nothing_are_counted(db: Database, blobs: LocalBlobs) -> None:
    running(db, blobs)
    release(db, must_claim(db))
    assert read_figures(db).failed_attempts == 0
    fail_attempt(db, must_claim(db), "the child died", "service")
    assert read_figures(db).failed_attempts == 1
    work = must_claim(db)
    assert read_figures(db).failed_attempts == 1
    expire(db, work)
    sweep(db, blobs)
    assert read_figures(db).failed_attempts == 2
    work = must_claim(db)
    finish_shard(db, blobs, work, shard_report(work).to_bytes())
    assert read_figures(db).failed_attempts == 2


@pytest.mark.parametrize("seed", range(4))
def test_what_only_grows_never_falls(db: Database, blobs: LocalBlobs, rules: Rules, seed: int) -> None:
    """Whatever happens to the work, in whatever order."""
    chance = random.Random(seed)  # noqa: S311 - which steps are taken need not be secret
    held: list[Claim] = []
    last = read_figures(db)
    for number in range(80):
        step(db, blobs, rules, chance, held, number)
        figures = read_figures(db)
        assert figures.failed_attempts >= last.failed_attempts
        assert all(figures.failed[fault] >= last.failed[fault] for fault in last.failed)
        last = figures
    assert last.failed_attempts > 0
    assert sum(last.failed.values()) > 0


def finish(db: Database, blobs: LocalBlobs, work: Claim) -> None:
    """Bring work to a good end."""
    if work.kind == "check":
        finish_check(db, work, [check()], shard_points=200)
    elif work.kind == "judge":
        finish_judge(db, blobs, work, *verdicts_on(blobs, work))
    else:
        finish_shard(db, blobs, work, shard_report(work, misclassified=1, broken=2).to_bytes())


def step(db: Database, blobs: LocalBlobs, rules: Rules, chance: random.Random, held: list[Claim], number: int) -> None:
    """Let one of all the things happen that can happen to work."""
    what = chance.choice(
        ("submit", "claim", "claim", "claim", "finish", "fail", "fail", "blame", "release", "expire", "cancel", "crash")
    )
    work = held.pop(chance.randrange(len(held))) if held and what not in {"submit", "claim", "crash"} else None
    try:
        if what == "submit":
            submit(db, blobs, new_submission(blobs, name=f"Method {number}"), rules)
        elif what == "claim":
            found = claim(db, a_worker("w"), LEASE_MS)
            held.extend([found] if found else [])
        elif what == "crash":
            release_worker(db, "w")
            held.clear()
        elif work is None:
            return
        elif what == "finish":
            finish(db, blobs, work)
        elif what == "fail":
            fail_attempt(db, work, "the child died", "service")
        elif what == "blame":
            fail_attempt(db, work, "the model is at fault", "model")
        elif what == "release":
            release(db, work)
        elif what == "expire":
            expire(db, work)
            sweep(db, blobs)
        else:
            cancel(db, chance.choice(list_submissions(db)).id)
    except (StaleClaim, Conflict):
        return  # the submission was cancelled or has failed meanwhile


def test_few_queries_are_asked_however_much_there_is(db: Database, blobs: LocalBlobs) -> None:
    for number in range(3):
        running(db, blobs, f"Method {number}", shard_points=50)
    asked: list[str] = []
    event.listen(db.engine, "before_cursor_execute", lambda *arguments: asked.append(arguments[2]))
    read_figures(db)
    assert len([statement for statement in asked if statement.startswith("SELECT")]) <= 9


def test_the_space_of_blobs(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path / "blobs", free_floor_bytes=0)
    blobs.put(b"12345")
    blobs.put(b"1234567")
    space = read_space(blobs)
    assert space is not None
    assert space.used_bytes == 12
    assert abs(space.free_bytes - shutil.disk_usage(tmp_path).free) < 2**30
