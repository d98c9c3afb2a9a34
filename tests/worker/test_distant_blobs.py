"""Workers that share no disk with the service: its files come and go over HTTP, slowly, or for a while not at all."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from store.claims import beat, release
from store.http_blobs import HttpRemote
from store.sweeping import sweep
from store.views import Progress, State
from tests.cutting import cutting
from tests.running import Running, prepared
from tests.store.opening import TOKEN, remote_blobs
from tests.store.places import service_for_workers
from tests.worker.test_attempt import SAVING
from tests.worker.work import claimed_shard, limits, must_claim, played, run, shard, stored_report, submission
from worker.dispatcher import Dispatcher, Options

__all__ = ["prepared"]

LEASE_MS = 2_000
TRANSFER_S = 4.0


class Slow(HttpRemote):
    """A connection on which every file takes longer than a lease."""

    def fetch(self, sha256: str, write: Callable[[bytes], None]) -> None:
        time.sleep(TRANSFER_S)
        super().fetch(sha256, write)

    def send(self, sha256: str, path: Path) -> None:
        time.sleep(TRANSFER_S)
        super().send(sha256, path)


@pytest.fixture
def service(prepared: Path, tmp_path: Path) -> Iterator[Running]:
    with service_for_workers(prepared, tmp_path) as service:
        yield service


def test_a_worker_without_the_services_disk_evaluates(service: Running, tmp_path: Path) -> None:
    work = claimed_shard(service.services, points=10)
    with closing(remote_blobs(HttpRemote(service.url, SecretStr(TOKEN)), tmp_path / "cache")) as blobs:
        run(replace(service.services, blobs=blobs), work, limits(tmp_path / "worker"))
    assert shard(service.services, work).state == "done", submission(service.services, work).reason
    assert stored_report(service.services, work).points.index == tuple(range(10))
    examples = shard(service.services, work).x_adv_sha256
    assert examples is not None
    assert service.services.blobs.size(examples) > 10 * 64 * 4


@pytest.mark.slow
def test_a_transfer_may_take_longer_than_the_lease(service: Running, tmp_path: Path) -> None:
    work = claimed_shard(service.services)
    beat(service.services.db, work, LEASE_MS, Progress())  # from now on it is as short as that
    ended = threading.Event()

    def sweep_meanwhile() -> None:
        while not ended.wait(0.2):
            sweep(service.services.db, service.services.blobs)

    sweeper = threading.Thread(target=sweep_meanwhile)
    sweeper.start()
    try:
        with closing(remote_blobs(Slow(service.url, SecretStr(TOKEN)), tmp_path / "cache")) as blobs:
            how = limits(tmp_path / "worker", played(SAVING), lease_ms=LEASE_MS, beat_ms=LEASE_MS // 4)
            run(replace(service.services, blobs=blobs), work, how)
    finally:
        ended.set()
        sweeper.join()
    assert submission(service.services, work).reason == "the end"
    assert shard(service.services, work).attempt == 1
    assert shard(service.services, work).checkpoint is not None


def test_a_store_that_is_away_costs_the_snapshot_and_not_the_evaluation(service: Running, tmp_path: Path) -> None:
    work = claimed_shard(service.services)
    with (
        cutting(service.url) as network,
        closing(remote_blobs(HttpRemote(network.url, SecretStr(TOKEN)), tmp_path / "cache")) as blobs,
    ):
        blobs.path(work.checkpoint_sha256)  # as a worker has it that had the model's other shards before
        network.close()
        run(replace(service.services, blobs=blobs), work, limits(tmp_path / "worker", played(SAVING)))
    assert submission(service.services, work).reason == "the end"
    assert shard(service.services, work).checkpoint is None


def test_a_store_that_is_away_costs_no_attempt(
    service: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("worker.engine._PAUSE_S", 0.1)
    work = claimed_shard(service.services)
    release(service.services.db, work)
    with (
        caplog.at_level(logging.ERROR),
        cutting(service.url) as network,
        closing(remote_blobs(HttpRemote(network.url, SecretStr(TOKEN)), tmp_path / "cache")) as blobs,
    ):
        network.close()
        options = Options(children=1, sweep_ms=300, limits=limits(tmp_path / "worker", played(SAVING)))
        worker = Dispatcher(replace(service.services, blobs=blobs), tmp_path / "worker", options)
        worker.start()
        try:
            end = time.monotonic() + 60
            while caplog.text.count("could not be brought to an end") < 5:
                assert time.monotonic() < end
                time.sleep(0.05)
        finally:
            worker.stop()
    assert submission(service.services, work).state is State.RUNNING
    again = must_claim(service.services)
    assert again.shard_id == work.shard_id
    assert again.attempt == 1
