"""Nothing is lost or doubled by whoever stops in the middle."""

from __future__ import annotations

import os
from functools import partial

import pytest
from sqlalchemy import update

from store.blobs import LocalBlobs
from store.boards import get_board
from store.claims import claim
from store.database import Database
from store.submissions import get_submission, submit
from store.sweeping import DISPATCHER, Swept, elect, resign, sweep
from store.tables import LeaseRow, ShardRow, SubmissionRow
from store.views import State
from tests.store.interleaving import at_once
from tests.store.material import (
    LEASE_MS,
    Rules,
    a_worker,
    expire,
    finish,
    must_claim,
    new_submission,
    published,
    running,
    shard_report,
    verdicts_on,
)


def test_a_quiet_database_stays_as_it_is(db: Database, blobs: LocalBlobs, rules: Rules) -> None:
    published(db, blobs)
    submit(db, blobs, new_submission(blobs, name="waiting"), rules)
    running(db, blobs, "working")
    must_claim(db)
    swept = sweep(db, blobs)
    assert (swept.requeued, swept.failed, swept.published) == ((), (), ())


def test_an_expired_lease_goes_back_to_the_queue(db: Database, blobs: LocalBlobs) -> None:
    view = running(db, blobs)
    work = must_claim(db)
    assert claim(db, a_worker("other"), LEASE_MS) is None
    expire(db, work)
    assert sweep(db, blobs).requeued == (work.shard_id,)
    again = must_claim(db, "other")
    assert (again.shard_id, again.attempt) == (work.shard_id, 2)
    assert again.token != work.token
    assert finish(db, blobs, again, shard_report(again).to_bytes()) is State.PUBLISHED
    assert get_submission(db, view.id).state is State.PUBLISHED


def test_a_model_that_kills_its_worker_stops_after_three_attempts(
    db: Database, blobs: LocalBlobs, rules: Rules
) -> None:
    view = submit(db, blobs, new_submission(blobs), rules)
    for _ in range(2):
        expire(db, must_claim(db))
        assert sweep(db, blobs).failed == ()
    expire(db, must_claim(db))
    assert sweep(db, blobs).failed == (view.id,)
    failed = get_submission(db, view.id)
    assert (failed.state, failed.fault) == (State.FAILED, "service")
    assert claim(db, a_worker("w"), LEASE_MS) is None
    assert sweep(db, blobs).failed == ()


def test_two_shards_that_expire_together_fail_one_submission(db: Database, blobs: LocalBlobs) -> None:
    view = running(db, blobs, shard_points=250)
    given_up = []
    for _ in range(3):
        for work in [must_claim(db), must_claim(db)]:
            expire(db, work)
        given_up.append(sweep(db, blobs).failed)
    assert given_up == [(), (), (view.id,)]


def test_a_run_whose_finisher_died_before_merging_is_published(db: Database, blobs: LocalBlobs) -> None:
    view = running(db, blobs)
    work = must_claim(db)
    report = blobs.put(shard_report(work).to_bytes())
    with db.transaction() as session:
        session.execute(update(ShardRow).where(ShardRow.id == work.shard_id).values(state="done", report_sha256=report))
    assert sweep(db, blobs).published == ()
    judging = must_claim(db)
    found, _ = verdicts_on(blobs, judging)
    verdicts = blobs.put(b"[" + b",".join(found) + b"]")
    with db.transaction() as session:
        session.execute(
            update(ShardRow).where(ShardRow.id == judging.shard_id).values(state="done", report_sha256=verdicts)
        )
    assert sweep(db, blobs).published == (view.id,)
    assert [row.model_id for row in get_board(db, "digits", "Linf").rows] == ["Method A"]
    assert sweep(db, blobs).published == ()


def test_an_open_submission_without_work_is_given_up(db: Database, blobs: LocalBlobs, rules: Rules) -> None:
    for state in (State.RECEIVED, State.CHECKING, State.QUEUED, State.RUNNING, State.EVALUATED):
        view = submit(db, blobs, new_submission(blobs, name=state.value), rules)
        with db.transaction() as session:
            session.execute(update(ShardRow).values(state="cancelled"))
            session.get_one(SubmissionRow, view.id).state = state
        assert sweep(db, blobs).failed == (view.id,)
        assert get_submission(db, view.id).fault == "service"


def test_one_dispatcher_at_a_time(db: Database) -> None:
    assert elect(db, DISPATCHER, "a", LEASE_MS)
    assert not elect(db, DISPATCHER, "b", LEASE_MS)
    assert elect(db, DISPATCHER, "a", LEASE_MS)
    with db.transaction() as session:
        session.get_one(LeaseRow, "dispatcher").until_ms = 1
    assert elect(db, DISPATCHER, "b", LEASE_MS)
    assert not elect(db, DISPATCHER, "a", LEASE_MS)
    resign(db, DISPATCHER, "a")
    assert not elect(db, DISPATCHER, "a", LEASE_MS)
    resign(db, DISPATCHER, "b")
    assert elect(db, DISPATCHER, "a", LEASE_MS)


@pytest.mark.parametrize("before", ["nobody", "one whose lease has run out", "one of them"])
def test_candidates_at_the_same_moment_elect_one(db: Database, before: str) -> None:
    if before != "nobody":
        assert elect(db, DISPATCHER, "0" if before == "one of them" else "vanished", LEASE_MS)
    if before == "one whose lease has run out":
        with db.transaction() as session:
            session.get_one(LeaseRow, "dispatcher").until_ms = 1
    outcomes = at_once(*[partial(elect, db, DISPATCHER, str(i), LEASE_MS) for i in range(5)])
    assert [outcome.error for outcome in outcomes] == [None] * 5
    elected = [str(i) for i, outcome in enumerate(outcomes) if outcome.result]
    assert len(elected) == 1
    if before == "one of them":
        assert elected == ["0"]


def test_sweepers_at_once_put_work_back_once(db: Database, blobs: LocalBlobs) -> None:
    running(db, blobs, shard_points=250)
    works = [must_claim(db) for _ in range(2)]
    for work in works:
        expire(db, work)
    outcomes = at_once(*[partial(sweep, db, blobs)] * 3)
    assert [outcome.error for outcome in outcomes] == [None] * 3
    requeued = [shard for outcome in outcomes if isinstance(outcome.result, Swept) for shard in outcome.result.requeued]
    assert sorted(requeued) == sorted(work.shard_id for work in works)
    assert [must_claim(db).attempt for _ in works] == [2, 2]


def test_what_a_killed_service_left_of_an_upload_is_removed_in_time(db: Database, blobs: LocalBlobs) -> None:
    descriptor, abandoned = blobs.open_incoming()
    os.close(descriptor)
    os.utime(abandoned, (0, 0))
    descriptor, under_way = blobs.open_incoming()
    os.close(descriptor)
    sweep(db, blobs)
    assert not abandoned.exists()
    assert under_way.exists()
