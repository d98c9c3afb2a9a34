"""Alive and ready are two questions: the first needs nothing, the second everything that work needs."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from api.readiness import Probes
from tests.api.shape import assert_error
from tests.running import Running, quiet_settings, running
from tests.servers import RedisServer

READY = {"status": "ready", "broker": "none"}


def test_alive(service: Running) -> None:
    body = service.http.get("/healthz").json()
    assert body["status"] == "ok"
    assert set(body) == {"status", "version"}


def test_ready(service: Running) -> None:
    answer = service.http.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, READY)
    assert service.files() == []


def break_database(service: Running) -> None:
    service.services.db.close()
    for path in service.blobs.parent.glob("gauntlet.sqlite*"):
        path.unlink()
    (service.blobs.parent / "gauntlet.sqlite").write_bytes(b"no database " * 1_000)


def migrate_further(service: Running) -> None:
    with service.services.db.transaction() as session:
        session.execute(text("UPDATE alembic_version SET version_num = 'f00'"))


def empty_database(service: Running) -> None:
    with service.services.db.transaction() as session:
        session.execute(text("DROP TABLE alembic_version"))


def remove_blobs(service: Running) -> None:
    shutil.rmtree(service.blobs)


def fill_disk(service: Running) -> None:
    vars(service.services.blobs)["free_floor_bytes"] = 2**62


@pytest.mark.parametrize(
    ("damage", "part"),
    [
        (break_database, "database"),
        (migrate_further, "schema"),
        (empty_database, "schema"),
        (remove_blobs, "blobs"),
        (fill_disk, "blobs"),
    ],
)
def test_what_is_missing_is_named_and_shows_nothing(
    service: Running, damage: Callable[[Running], None], part: str
) -> None:
    damage(service)
    answer = service.http.get("/readyz")
    assert_error(answer, 503, "not_ready", part)
    assert str(service.blobs.parent) not in answer.text
    assert "sqlite" not in answer.text
    assert service.http.get("/healthz").status_code == 200


def test_it_is_ready_again_once_the_damage_is_mended(service: Running) -> None:
    fill_disk(service)
    assert service.http.get("/readyz").status_code == 503
    vars(service.services.blobs)["free_floor_bytes"] = 0
    assert service.http.get("/readyz").json() == READY


@pytest.mark.parametrize(
    ("answers", "expected"),
    [(True, {"status": "ready", "broker": "up"}), (False, {"status": "degraded", "broker": "down"})],
)
def test_a_broker_that_is_down_does_not_take_the_service_down(
    service: Running, *, answers: bool, expected: dict[str, str]
) -> None:
    service.app.state.probes = Probes(service.services, lambda: answers)
    answer = service.http.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, expected)


def test_a_real_broker_is_asked_while_it_is_there_and_while_it_is_not(prepared: Path, tmp_path: Path) -> None:
    shutil.copytree(prepared, tmp_path / "var")
    with RedisServer() as broker:
        settings = quiet_settings(tmp_path / "var").model_copy(update={"redis_url": broker.url})
        with running(settings) as service:
            assert service.http.get("/readyz").json() == {"status": "ready", "broker": "up"}
            broker.kill()
            answer = service.http.get("/readyz")
            assert (answer.status_code, answer.json()) == (200, {"status": "degraded", "broker": "down"})
            broker.start()
            assert service.http.get("/readyz").json() == {"status": "ready", "broker": "up"}


def test_a_silent_part_is_asked_once_however_many_wait_for_it(service: Running) -> None:
    asked, answered = [], threading.Event()

    def hang() -> bool:
        asked.append(1)
        return answered.wait(20)

    service.app.state.probes = Probes(service.services, hang, limit_s=0.5)
    try:
        started = time.monotonic()
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _: httpx.get(f"{service.url}/readyz").json(), range(8)))
        assert time.monotonic() - started < 5
        assert found == [{"status": "degraded", "broker": "down"}] * 8
        assert len(asked) == 1
    finally:
        answered.set()


def test_a_silent_database_is_told_within_seconds(service: Running, tmp_path: Path) -> None:
    """Every connection of the pool is taken, so the next one would be waited for half a minute."""
    service.app.state.probes = Probes(service.services, limit_s=0.5)
    engine = service.services.db.engine
    taken = [engine.connect() for _ in range(15)]
    try:
        assert assert_error(service.http.get("/readyz"), 503, "not_ready", "database")["found"] == (
            "did not answer in time"
        )
        assert service.http.get("/healthz").status_code == 200
    finally:
        for connection in taken:
            connection.close()
