"""Workers that announce themselves, show signs of life, are drained, and are forgotten."""

from __future__ import annotations

import threading

import pytest

from benchmark.errors import NotFound
from store.blobs import LocalBlobs
from store.claims import claim
from store.database import Database
from store.submissions import submit
from store.tables import WorkerRow
from store.workers import FORGOTTEN_AFTER_MS, announce, drain, leave, list_workers, show_life
from tests.store.material import LEASE_MS, Rules, a_worker, must_claim, new_submission
from tests.store.test_queue import Bell


def names(db: Database) -> list[str]:
    return [worker.name for worker in list_workers(db)]


def age(db: Database, name: str, by_ms: int) -> None:
    """Make a worker's last sign of life that much older."""
    with db.transaction() as session:
        session.get_one(WorkerRow, name).seen_ms -= by_ms


def test_a_worker_is_listed_with_what_it_has_and_holds(db: Database, blobs: LocalBlobs, rules: Rules) -> None:
    announce(db, a_worker("b", host="there", devices=("cuda:0", "cuda:1"), datasets=("digits", "cifar10")))
    announce(db, a_worker("a"))
    submit(db, blobs, new_submission(blobs), rules)
    must_claim(db, "b")
    first, second = list_workers(db)
    assert (first.name, first.devices, first.datasets, first.running) == ("a", ("cpu",), ("digits",), 0)
    assert (second.name, second.host, second.devices) == ("b", "there", ("cuda:0", "cuda:1"))
    assert (second.datasets, second.running, second.draining) == (("digits", "cifar10"), 1, False)
    assert 0 <= second.silent_ms < 60_000
    assert second.started_ms == second.seen_ms


def test_a_sign_of_life_is_only_taken_from_who_is_known(db: Database) -> None:
    assert not show_life(db, "a")
    assert names(db) == []
    announce(db, a_worker("a"))
    age(db, "a", 50_000)
    assert list_workers(db)[0].silent_ms >= 50_000
    assert show_life(db, "a")
    assert list_workers(db)[0].silent_ms < 50_000
    leave(db, "a")
    assert names(db) == []
    leave(db, "a")
    assert not show_life(db, "a")


def test_a_worker_that_was_silent_for_a_day_is_forgotten(db: Database) -> None:
    announce(db, a_worker("gone"))
    announce(db, a_worker("quiet"))
    age(db, "gone", FORGOTTEN_AFTER_MS + 1_000)
    age(db, "quiet", FORGOTTEN_AFTER_MS - 60_000)
    announce(db, a_worker("new"))
    assert names(db) == ["new", "quiet"]


def test_a_drained_worker_claims_nothing_until_it_may_again(db: Database, blobs: LocalBlobs, rules: Rules) -> None:
    announce(db, a_worker("w"))
    submit(db, blobs, new_submission(blobs), rules)
    drain(db, "w")
    assert claim(db, a_worker("w"), LEASE_MS) is None
    assert list_workers(db)[0].draining
    show_life(db, "w")
    assert list_workers(db)[0].draining
    bell = db.doorbell = Bell(db)
    drain(db, "w", draining=False)
    assert len(bell.take()) == 1
    assert claim(db, a_worker("w"), LEASE_MS) is not None
    drain(db, "w", draining=False)
    assert bell.take() == []


def test_who_starts_afresh_is_no_longer_drained(db: Database) -> None:
    announce(db, a_worker("w"))
    drain(db, "w")
    announce(db, a_worker("w", datasets=("cifar10",)))
    (worker,) = list_workers(db)
    assert (worker.draining, worker.datasets) == (False, ("cifar10",))


def test_draining_another_is_refused_with_the_names_there_are(db: Database) -> None:
    with pytest.raises(NotFound, match="none has announced itself"):
        drain(db, "w")
    for name in ("one", "two"):
        announce(db, a_worker(name))
    with pytest.raises(NotFound, match="one of one, two") as refused:
        drain(db, "x" * 500)
    assert refused.value.detail is not None
    assert len(refused.value.detail.found) < 100


def test_workers_that_announce_themselves_at_once_are_all_known(db: Database) -> None:
    together = threading.Barrier(6)

    def arrive(name: str) -> None:
        together.wait()
        for _ in range(5):
            announce(db, a_worker(name))
            show_life(db, name)

    threads = [threading.Thread(target=arrive, args=(f"w{number % 3}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names(db) == ["w0", "w1", "w2"]
