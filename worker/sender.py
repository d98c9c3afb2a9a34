"""Sends the messages that wait, beside the sweeper and never in its way."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping

from store.deliveries import Delivery, note_failed, note_sent, take_notice, tidy_notices
from store.notices import Channel
from store.services import Services
from worker.messaging import NotDelivered, Send
from worker.sweeper import Role

logger = logging.getLogger(__name__)

AT_ONCE = 20
"""Messages that a turn sends at most."""
TURN_S = 2.0
TIDY_S = 60.0
PAUSE_S = 60.0
"""How long a way of sending that is out of order is left alone."""


class Sender:
    """Sends in a thread of its own what is due, while it has its role. Any number may run; one sends at a time.

    Args:
        services: the store.
        role: asked before every message.
        ways: how messages go by each channel; what goes by others is given up.
    """

    def __init__(self, services: Services, role: Role, ways: Mapping[Channel, Send]) -> None:
        self._services = services
        self._role = role
        self._ways = dict(ways)
        self._stop = threading.Event()
        self._tidy_at = 0.0
        self._paused: dict[Channel, float] = {}
        self._thread = threading.Thread(target=self._run, name="sender", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self, patience_s: float = 5.0) -> None:
        """End after the message in hand; one that takes longer than this will be sent again by whoever comes next."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(patience_s)
        self._role.resign()

    def turn(self) -> int:
        """Send what is due, up to a number of messages, and return how many were tried."""
        for tried in range(AT_ONCE):
            if self._stop.is_set() or not self._role.held():
                return tried
            now = time.monotonic()
            if now >= self._tidy_at:
                self._tidy_at = now + TIDY_S
                tidy_notices(self._services.db, self._ways.keys())
            open_ways = [way for way in self._ways if self._paused.get(way, 0.0) <= now]
            delivery = take_notice(self._services.db, open_ways) if open_ways else None
            if delivery is None:
                return tried
            self._send(delivery)
        return AT_ONCE

    def _send(self, delivery: Delivery) -> None:
        try:
            self._ways[delivery.channel](delivery)
        except NotDelivered as failure:
            if failure.everywhere:
                self._paused[delivery.channel] = time.monotonic() + PAUSE_S
                logger.warning("no %s can be sent: %s", delivery.channel, failure.reason)
            note_failed(self._services.db, delivery.id, failure.reason, lasting=failure.lasting)
        except Exception:
            logger.exception("message %s could not be sent", delivery.id)
            note_failed(self._services.db, delivery.id, "the service could not send it")
        else:
            note_sent(self._services.db, delivery.id)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.turn()
            except Exception:
                logger.exception("the sender could not send; it tries again")
            self._stop.wait(TURN_S)
