"""The bell on a real broker: what a message is, and that nobody waits for a broker that is away."""

from __future__ import annotations

import base64
import json
import logging
import os
import signal
import threading
import time

import pytest
import redis

from tests.servers import RedisServer
from worker.bell import CeleryBell
from worker.celery_app import TASK

QUEUE = "gauntlet"


def heard(redis_url: str) -> list[object]:
    """The arguments of every message that waits, the oldest first."""
    with redis.Redis.from_url(redis_url) as broker:
        messages = [json.loads(message) for message in broker.lrange(QUEUE, 0, -1)[::-1]]
    assert {message["headers"]["task"] for message in messages} <= {TASK}
    assert {message["content-type"] for message in messages} <= {"application/json"}
    return [json.loads(base64.b64decode(message["body"]))[0] for message in messages]


def test_every_piece_of_work_is_a_message_with_nothing_but_its_number(redis_url: str) -> None:
    bell = CeleryBell(redis_url)
    bell.ring([7, 3])
    bell.ring([])
    bell.ring([7])
    assert heard(redis_url) == [[7], [3], [7]]


def test_no_more_messages_are_sent_than_can_wake_anybody(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.bell._ENOUGH", 5)
    bell = CeleryBell(redis_url)
    for _ in range(4):
        bell.ring([1, 2])
    assert heard(redis_url) == [[1], [2], [1], [2], [1]]
    with redis.Redis.from_url(redis_url) as broker:
        broker.delete(QUEUE)
    bell.ring([3])
    assert heard(redis_url) == [[3]]


def test_a_broker_that_is_gone_is_told_once_and_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("worker.bell._PAUSE_S", 3.0)
    with RedisServer() as server, caplog.at_level(logging.WARNING, "worker.bell"):
        bell = CeleryBell(server.url)
        bell.ring([1])
        server.kill()
        started = time.monotonic()
        bell.ring([2])
        assert time.monotonic() - started < 2
        bell.ring([3])
        assert len(caplog.records) == 1
        assert "the broker does not answer" in caplog.text
        assert not bell.answers()
        server.start()
        assert bell.answers()
        bell.ring([4])  # still too early
        assert heard(server.url) == []
        time.sleep(3)
        bell.ring([5])
        assert heard(server.url) == [[5]]


@pytest.mark.slow
def test_a_broker_that_hangs_holds_nobody_up_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """All who ring meanwhile wait for the same one try."""
    with RedisServer() as server:
        bell = CeleryBell(server.url)
        bell.ring([1])
        os.kill(server.pid, signal.SIGSTOP)
        try:
            started = time.monotonic()
            threads = [threading.Thread(target=bell.ring, args=([number],)) for number in range(5)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert time.monotonic() - started < 15
        finally:
            os.kill(server.pid, signal.SIGCONT)


@pytest.mark.parametrize("reason", ["password", "another's key"])
def test_a_broker_that_refuses_is_no_error_of_who_rings(
    redis_url: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    with redis.Redis.from_url(redis_url) as broker:
        broker.set(QUEUE, "no list")
    url = redis_url if reason == "another's key" else redis_url.replace("://", "://:wrong@")
    CeleryBell(url).ring([1])
    assert "the broker does not answer" in caplog.text


def test_threads_that_ring_at_once_are_all_heard(redis_url: str) -> None:
    bell = CeleryBell(redis_url)
    together = threading.Barrier(8)

    def ring(number: int) -> None:
        together.wait()
        bell.ring([number])

    threads = [threading.Thread(target=ring, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(json.dumps(arguments) for arguments in heard(redis_url)) == [f"[{number}]" for number in range(8)]
