"""The embedded engine: claims work and runs it in children of the service process, without a broker."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import secrets
import shutil
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy.exc import OperationalError

from benchmark.errors import Conflict
from store import claims
from store.claims import Claim
from store.errors import StaleClaim, StorageFull
from store.services import Services
from store.sweeping import elect_dispatcher, resign_dispatcher, sweep
from worker.attempt import Limits, run_attempt
from worker.context import working_on

logger = logging.getLogger(__name__)

_POLL_S = 0.3
_PAUSE_S = 5.0
"""Rest after the machine ran out of something, such as disk space, so that it is not asked for more at once."""
_EXHAUSTED = frozenset({errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE})


@dataclass(frozen=True)
class Options:
    """Settings of the embedded engine.

    Args:
        children: children that run at the same time.
        sweep_ms: time between two sweeps.
        limits: how attempts are run.
        devices: where children compute; each new one takes the device with the fewest.
    """

    children: int
    sweep_ms: int
    limits: Limits
    devices: tuple[str, ...] = ("cpu",)


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
        self._running: dict[threading.Thread, str] = {}
        self._loop = threading.Thread(target=self._work, name="dispatcher", daemon=True)
        self._lock: int | None = None
        self._name = ""
        self._is_elected = False
        self._elect_at = self._sweep_at = self._claim_at = 0.0

    def start(self) -> None:
        """Begin to work; what an earlier process of this instance left behind is queued again at once.

        Raises:
            Conflict: another service uses the same directory.
        """
        self._lock = _lock(self._home / "service.lock")
        try:
            self._name = _instance_name(self._home / "instance")
            shutil.rmtree(self._options.limits.scratch, ignore_errors=True)
            claims.release_worker(self._services.db, self._name)
            self._loop.start()
        except BaseException:
            self._unlock()
            raise

    def stop(self) -> None:
        """End all children, give their work back and return when nothing runs any more."""
        if self._lock is None:
            return
        self._stop.set()
        self._wake.set()
        self._loop.join()
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _work(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            try:
                if self._elected():
                    self._sweep()
                    self._fill()
            except Exception:  # a full disk or a locked database passes; the next turn tries again
                logger.exception("the dispatcher could not claim work")
                self._stop.wait(1)
            self._wake.wait(_POLL_S)
        for thread in list(self._running):
            thread.join()
        with contextlib.suppress(Exception):
            resign_dispatcher(self._services.db, self._name)

    def _elected(self) -> bool:
        """Tell whether this is the dispatcher; the role is renewed long before it runs out, not at every turn."""
        now = time.monotonic()
        if now >= self._elect_at:
            lease_ms = self._options.limits.lease_ms
            self._is_elected = elect_dispatcher(self._services.db, self._name, lease_ms)
            self._elect_at = now + (lease_ms / 3000 if self._is_elected else min(1.0, lease_ms / 3000))
        return self._is_elected

    def _sweep(self) -> None:
        now = time.monotonic()
        if now >= self._sweep_at:
            self._sweep_at = now + self._options.sweep_ms / 1000
            sweep(self._services.db, self._services.blobs)

    def _fill(self) -> None:
        self._running = {thread: device for thread, device in self._running.items() if thread.is_alive()}
        while self._has_room():
            claim = claims.claim(self._services.db, self._name, self._options.limits.lease_ms)
            if claim is None:
                return
            busy = list(self._running.values())
            device = min(self._options.devices, key=busy.count)
            thread = threading.Thread(target=self._attempt, args=(claim, device), name=f"work-{claim.shard_id}")
            self._running[thread] = device
            thread.start()

    def _has_room(self) -> bool:
        return (
            len(self._running) < self._options.children
            and time.monotonic() >= self._claim_at
            and not self._stop.is_set()
        )

    def _attempt(self, claim: Claim, device: str) -> None:
        with working_on(claim, self._name):
            try:
                run_attempt(self._services, claim, replace(self._options.limits, device=device), self._stop)
            except Exception as error:
                logger.exception("work %s could not be brought to an end", claim.shard_id)
                with contextlib.suppress(Exception):  # what cannot be said now, the end of the lease says
                    self._give_back(claim, error)
            finally:
                self._wake.set()

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
    return isinstance(error, StorageFull | OperationalError) or (
        isinstance(error, OSError) and error.errno in _EXHAUSTED
    )


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
    name = path.read_text(encoding="ascii").strip() if path.exists() else ""
    if not name:  # a crash at the very first start can leave the file empty
        name = f"embedded-{secrets.token_hex(6)}"
        path.write_text(f"{name}\n", encoding="ascii")
    return name
