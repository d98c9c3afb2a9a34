"""The bell of the distributed engine on a real broker, and without it."""

from __future__ import annotations

import time

import redis

from tests.servers import RedisServer
from worker.bell import CeleryBell


def test_the_bell_leaves_a_message_for_each_piece_of_work(redis_url: str) -> None:
    CeleryBell(redis_url).ring([1, 2, 3])
    with redis.Redis.from_url(redis_url) as broker:
        assert broker.llen("gauntlet") == 3


def test_a_broker_that_is_gone_keeps_nobody_waiting() -> None:
    with RedisServer() as broker:
        bell = CeleryBell(broker.url)
        bell.ring([1])
        assert bell.answers()
        broker.kill()
        started = time.monotonic()
        bell.ring([2])
        assert not bell.answers()
        assert time.monotonic() - started < 4
        broker.start()
        assert bell.answers()
