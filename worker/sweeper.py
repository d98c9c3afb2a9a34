"""Looks again and again for what nobody holds any more."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable

from store.services import Services
from store.sweeping import RING_AGAIN_MS, elect, resign, ring_again, sweep

logger = logging.getLogger(__name__)


class Role:
    """A role that one process has at a time, renewed long before it runs out.

    Args:
        services: the store.
        name: the role's.
        holder: the process's own.
        lease_ms: time after which a silent holder loses it.
    """

    def __init__(self, services: Services, name: str, holder: str, lease_ms: int) -> None:
        self._services = services
        self._name = name
        self._holder = holder
        self._lease_ms = lease_ms
        self._has_it = False
        self._ask_at = 0.0

    def held(self) -> bool:
        """Tell whether this process has the role, asking the database only when it is time."""
        now = time.monotonic()
        if now >= self._ask_at:
            self._has_it = elect(self._services.db, self._name, self._holder, self._lease_ms)
            self._ask_at = now + (self._lease_ms / 3000 if self._has_it else min(1.0, self._lease_ms / 3000))
        return self._has_it

    def resign(self) -> None:
        """Give the role back, so that a successor need not wait."""
        with contextlib.suppress(Exception):
            resign(self._services.db, self._name, self._holder)


class Sweeper:
    """Sweeps every so often, and rings again for work that nobody came for, while it has its role.

    Args:
        services: the store.
        role: asked before every sweep.
        every_ms: time between two sweeps.
    """

    def __init__(self, services: Services, role: Role, every_ms: int) -> None:
        self._services = services
        self._role = role
        self._every_ms = every_ms
        self._sweep_at = self._ring_at = 0.0

    def turn(self) -> None:
        """Ring again and sweep, each where it is time, and tell the maintainers what was given up."""
        now = time.monotonic()
        if not self._role.held():
            return
        if now >= self._ring_at:
            self._ring_at = now + RING_AGAIN_MS / 1000
            ring_again(self._services.db)
        if now < self._sweep_at:
            return
        self._sweep_at = now + self._every_ms / 1000
        swept = sweep(self._services.db, self._services.blobs)
        for submission_id in swept.failed:
            logger.error("submission %s was given up: its work came to nothing", submission_id)
        for entry in swept.ended:
            logger.info("unverified %s has ended and was removed", entry)
        if swept.requeued:
            logger.warning("work %s was queued again: nobody held it any more", ", ".join(map(str, swept.requeued)))

    def run(self, stop: threading.Event, tell: Callable[[], None] = lambda: None) -> None:
        """Sweep until told to stop; a database that does not answer is asked again.

        Args:
            stop: set where it is to end.
            tell: called after every turn that went well.
        """
        while not stop.is_set():
            try:
                self.turn()
                tell()
            except Exception:
                logger.exception("the sweeper could not sweep; it tries again")
            stop.wait(1.0)
        self._role.resign()
