"""The bell of the distributed engine: a message on the broker, heard by whichever worker is free."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence

from kombu.exceptions import KombuError
from redis.exceptions import RedisError

from worker.celery_app import TASK, make_celery

logger = logging.getLogger(__name__)

_ENOUGH = 1_000
"""Messages that wait at which no more are sent: they would wake nobody new, and fill the broker's memory."""
_PAUSE_S = 5.0
"""Time for which a broker that did not answer is not asked again, so that no request waits for it over and over."""


class CeleryBell:
    """Rings by a Celery task for each piece of work.

    Args:
        redis_url: the broker.
    """

    def __init__(self, redis_url: str) -> None:
        self._app = make_celery(redis_url)
        # Whoever rings is in the middle of a request, and the sweeper rings again: one try is enough.
        self._app.conf.broker_transport_options |= {"max_retries": 0}
        self._lock = threading.Lock()
        self._silent_until = 0.0

    def ring(self, shard_ids: Sequence[int]) -> None:
        """Send a message for each piece of work, unless enough are waiting or the broker is gone."""
        with self._lock:
            if time.monotonic() < self._silent_until:
                return
            try:
                with self._app.connection_for_write() as connection, connection.Producer() as producer:
                    waiting = connection.default_channel.client.llen(self._app.conf.task_default_queue)
                    for shard_id in shard_ids[: max(_ENOUGH - waiting, 0)]:
                        self._app.send_task(TASK, args=[shard_id], producer=producer, retry=False)
            except (KombuError, RedisError, OSError) as error:
                self._silent_until = time.monotonic() + _PAUSE_S
                logger.warning("the broker does not answer, the work waits for the sweeper: %s", error)

    def answers(self) -> bool:
        """Tell whether the broker does."""
        try:
            with self._app.connection_for_read() as connection:
                return bool(connection.default_channel.client.ping())
        except (KombuError, RedisError, OSError) as error:
            logger.warning("the broker does not answer: %s", error)
            return False
