"""The embedded engine: claims work and runs it in children of the service process, without a broker."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import secrets
import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import Conflict
from store import claims
from store.claims import Claim
from store.errors import StaleClaim
from store.services import Services
from store.sweeping import elect_dispatcher, resign_dispatcher, sweep
from worker.attempt import Limits, run_attempt

logger = logging.getLogger(__name__)

_POLL_S = 0.3


@dataclass(frozen=True)
class Options:
    """Settings of the embedded engine.

    Args:
        children: children that run at the same time.
        sweep_ms: time between two sweeps.
        limits: how attempts are run.
    """

    children: int
    sweep_ms: int
    limits: Limits


class Dispatcher:
    """Runs what the store has queued. One dispatcher works at a time; it is elected by a lease.

    Args:
        services: the store.
        home: directory of the instance; it is locked, so that two services never share it.
        options: settings.
    """

    def __init__(self, services: Services, home: Path, options: Options) -> None:
        self._services = services
        self._options = options
        self._home = home
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._running: set[threading.Thread] = set()
        self._loop = threading.Thread(target=self._work, name="dispatcher", daemon=True)
        self._lock: int | None = None
        self._name = ""

    def start(self) -> None:
        """Begin to work; what an earlier process of this instance left behind is queued again at once.

        Raises:
            Conflict: another service uses the same directory.
        """
        self._lock = _lock(self._home / "service.lock")
        self._name = _instance_name(self._home / "instance")
        shutil.rmtree(self._options.limits.scratch, ignore_errors=True)
        claims.release_worker(self._services.db, self._name)
        self._loop.start()

    def stop(self) -> None:
        """End all children, give their work back and return when nothing runs any more."""
        if self._lock is None:
            return
        self._stop.set()
        self._wake.set()
        self._loop.join()
        os.close(self._lock)
        self._lock = None

    def _work(self) -> None:
        swept_at = float("-inf")
        while not self._stop.is_set():
            self._wake.clear()
            try:
                if elect_dispatcher(self._services.db, self._name, self._options.limits.lease_ms):
                    if time.monotonic() - swept_at >= self._options.sweep_ms / 1000:
                        sweep(self._services.db, self._services.blobs)
                        swept_at = time.monotonic()
                    self._fill()
            except Exception:  # a full disk or a locked database passes; the next turn tries again
                logger.exception("the dispatcher could not claim work")
                self._stop.wait(1)
            self._wake.wait(_POLL_S)
        for thread in list(self._running):
            thread.join()
        with contextlib.suppress(Exception):
            resign_dispatcher(self._services.db, self._name)

    def _fill(self) -> None:
        self._running = {thread for thread in self._running if thread.is_alive()}
        while len(self._running) < self._options.children and not self._stop.is_set():
            claim = claims.claim(self._services.db, self._name, self._options.limits.lease_ms)
            if claim is None:
                return
            thread = threading.Thread(target=self._attempt, args=(claim,), name=f"work-{claim.shard_id}")
            self._running.add(thread)
            thread.start()

    def _attempt(self, claim: Claim) -> None:
        try:
            run_attempt(self._services, claim, self._options.limits, self._stop)
        except Exception:
            logger.exception("work %s could not be brought to an end", claim.shard_id)
            with contextlib.suppress(StaleClaim, Exception):
                claims.fail_attempt(self._services.db, claim, "the service failed; see its log", "service")
        finally:
            self._wake.set()


def _lock(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise Conflict.because(
            "var_dir",
            found=f"{path.parent}, which another running service uses",
            expected="a directory of its own for every service",
            remedy="stop the other service, or set GAUNTLET_VAR_DIR to another directory",
        ) from None
    return descriptor


def _instance_name(path: Path) -> str:
    """Return the name under which this directory's services claim work, made at the first start."""
    if not path.exists():
        path.write_text(f"embedded-{secrets.token_hex(6)}\n")
    return path.read_text().strip()
