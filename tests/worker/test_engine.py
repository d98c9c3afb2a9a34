"""What both engines share: claiming, attempting, giving back, and being seen."""

from __future__ import annotations

import errno
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError, OperationalError

from store.blobs import LocalBlobs
from store.errors import StorageFull
from store.services import Services
from store.submissions import get_submission
from store.tables import ShardRow
from store.views import State
from store.workers import Worker, leave, list_workers
from tests.worker.work import claimed_shard, limits, must_claim, played, shard, submission, submitted
from worker.engine import Engine
from worker.limits import Limits

WORKER = Worker(name="w", datasets=("digits",))
REJECTED = 'say(type="checked", checks=[dict(code="zero_gradient", outcome="rejected", message="All are zero.")])'
EVALUATED = """
    for name in ("report.json", "x_adv.safetensors"):
        open(name, "w").write("{}")
    say(type="evaluated")
"""


def engine(services: Services, how: Limits, stop: threading.Event | None = None) -> Engine:
    return Engine(services, WORKER, how, stop or threading.Event())


def test_all_there_is_is_done_one_after_the_other(services: Services, tmp_path: Path) -> None:
    views = [submitted(services, model) for model in ("Digits_Standard", "Digits_PGD10", "Digits_FGSM")]
    note = tmp_path / "note"
    program = f"""
    with open({str(note)!r}, "a") as file:
        file.write("+")
        file.flush()
        time.sleep(0.2)
        file.write("-")
    {REJECTED}
    """
    engine(services, limits(tmp_path, played(program))).work_until_idle()
    assert note.read_text(encoding="ascii") == "+-+-+-"
    assert {get_submission(services.db, view.id).state for view in views} == {State.REJECTED}


def test_a_stopped_engine_claims_nothing(services: Services, tmp_path: Path) -> None:
    submitted(services)
    stop = threading.Event()
    stop.set()
    assert engine(services, limits(tmp_path), stop).claim() is None
    assert must_claim(services).attempt == 1


def test_a_disk_that_is_full_is_given_a_rest(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.engine._PAUSE_S", 1.0)
    work = claimed_shard(services)
    full = replace(services, blobs=LocalBlobs(tmp_path / "blobs", free_floor_bytes=2**62))
    worker = engine(full, limits(tmp_path, played(EVALUATED)))
    worker.attempt(work, "cpu")
    given_back = shard(services, work)
    assert (given_back.state, given_back.attempt, given_back.lease_token) == ("queued", 0, None)
    assert worker.claim() is None
    time.sleep(1)
    assert worker.claim() is not None


@pytest.mark.parametrize(
    ("error", "attempts"),
    [
        (StorageFull("The disk is full."), 0),
        (OperationalError("SELECT 1", {}, Exception("the database is shutting down")), 0),
        (OSError(errno.ENOSPC, "No space left on device"), 0),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), 0),
        (PermissionError(errno.EACCES, "Permission denied"), 1),
        (IntegrityError("INSERT", {}, Exception("it is there already")), 1),
        (ZeroDivisionError(), 1),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_what_passes_costs_no_attempt_and_what_does_not_costs_one(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, attempts: int
) -> None:
    def raise_it(*_: object) -> None:
        raise error

    monkeypatch.setattr("worker.engine.run_attempt", raise_it)
    work = claimed_shard(services)
    engine(services, limits(tmp_path)).attempt(work, "cpu")
    given_back = shard(services, work)
    assert (given_back.state, given_back.attempt) == ("queued", attempts)
    assert submission(services, work).state is State.RUNNING


def test_an_error_over_work_that_another_has_taken_is_nobodys(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raise_it(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("worker.engine.run_attempt", raise_it)
    work = claimed_shard(services)
    with services.db.transaction() as session:
        session.get_one(ShardRow, work.shard_id).lease_token = "another's"
    engine(services, limits(tmp_path)).attempt(work, "cpu")
    assert shard(services, work).lease_token == "another's"


def test_a_device_with_the_least_to_do_is_chosen_among_those_that_can(services: Services, tmp_path: Path) -> None:
    worker = Worker(name="w", devices=("cpu", "cuda:0", "cuda:1"), datasets=("digits",))
    mixed = Engine(services, worker, limits(tmp_path), threading.Event())
    work = claimed_shard(services)
    assert mixed.device_for(work, ["cpu", "cuda:0", "cuda:0"]) == "cuda:1"
    assert mixed.device_for(work, ["cuda:0", "cuda:1"]) == "cpu"
    needy = work.model_copy(update={"needs_cuda": True})
    assert mixed.device_for(needy, ["cuda:0", "cuda:1", "cuda:1"]) == "cuda:0"


def test_a_worker_is_seen_announces_itself_again_and_leaves(services: Services, tmp_path: Path) -> None:
    worker = engine(services, limits(tmp_path, beat_ms=300))
    worker.show_life()
    (first,) = list_workers(services.db)
    worker.show_life()  # too early to be worth a write
    assert list_workers(services.db)[0].seen_ms == first.seen_ms
    time.sleep(0.4)
    worker.show_life()
    assert list_workers(services.db)[0].seen_ms > first.seen_ms
    leave(services.db, "w")  # as a database does that was restored from a backup
    time.sleep(0.4)
    worker.show_life()
    assert [known.name for known in list_workers(services.db)] == ["w"]
    worker.leave()
    assert list_workers(services.db) == ()
