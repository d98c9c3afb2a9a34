"""What both engines share: one worker that claims work it can run and attempts it, whatever may happen."""

from __future__ import annotations

import contextlib
import errno
import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy.exc import OperationalError

from store import claims, workers
from store.claims import Claim
from store.errors import StaleClaim, StorageFull, StorageUnavailable
from store.services import Services
from store.workers import Worker
from worker.attempt import run_attempt
from worker.context import working_on
from worker.limits import Limits

logger = logging.getLogger(__name__)

_PAUSE_S = 5.0
"""Rest after the machine ran out of something, such as disk space, so that it is not asked for more at once."""
_EXHAUSTED = frozenset({errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE})


class Engine:
    """Claims and attempts work in the name of one worker.

    Args:
        services: the store.
        worker: in whose name.
        limits: how attempts are run.
        stop: set where everything is to end; work that is under way is given back.
    """

    def __init__(self, services: Services, worker: Worker, limits: Limits, stop: threading.Event) -> None:
        self.worker = worker
        self._services = services
        self._limits = limits
        self._stop = stop
        self._claim_at = 0.0
        self._shown_at = float("-inf")

    def claim(self) -> Claim | None:
        """Claim the next piece of work; None where there is none, or while the machine is short of something."""
        if self._stop.is_set() or time.monotonic() < self._claim_at:
            return None
        return claims.claim(self._services.db, self.worker, self._limits.lease_ms)

    def attempt(self, claim: Claim, device: str) -> None:
        """Attempt claimed work; never raises."""
        with working_on(claim, self.worker.name):
            try:
                run_attempt(self._services, claim, replace(self._limits, device=device), self._stop)
            except Exception as error:
                logger.exception("work %s could not be brought to an end", claim.shard_id)
                with contextlib.suppress(Exception):  # what cannot be said now, the end of the lease says
                    self._give_back(claim, error)

    def work_until_idle(self) -> None:
        """Do one piece of work after the other, until there is none that this worker can run."""
        while (claim := self.claim()) is not None:
            self.attempt(claim, self.device_for(claim, ()))

    def device_for(self, claim: Claim, busy: Sequence[str]) -> str:
        """Return the device for claimed work: of those that can run it, the one with the least to do."""
        fitting = [device for device in self.worker.devices if device != "cpu" or not claim.needs_cuda]
        return min(fitting, key=busy.count)

    def show_life(self) -> None:
        """Let others see, every few seconds, that this worker is alive; announce it where it is not known."""
        now = time.monotonic()
        if now - self._shown_at < self._limits.beat_ms / 1000:
            return
        self._shown_at = now
        if not workers.show_life(self._services.db, self.worker.name):
            workers.announce(self._services.db, self.worker)

    def leave(self) -> None:
        """Take this worker from the list of those that are alive."""
        with contextlib.suppress(Exception):
            workers.leave(self._services.db, self.worker.name)

    def _give_back(self, claim: Claim, error: Exception) -> None:
        """Put work back that the service itself could not do; want of disk space or the like costs no attempt."""
        with contextlib.suppress(StaleClaim):
            if _passes(error):
                self._claim_at = time.monotonic() + _PAUSE_S
                claims.release(self._services.db, claim)
            else:
                claims.fail_attempt(self._services.db, claim, "the service failed; see its log", "service")


def _passes(error: Exception) -> bool:
    """Tell whether the machine or the database is only short of something for now."""
    return isinstance(error, StorageFull | StorageUnavailable | OperationalError) or (
        isinstance(error, OSError) and error.errno in _EXHAUSTED
    )
