"""The embedded engine: claims work and runs it in children of the service process, without a broker."""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import shutil
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import Conflict
from store import claims
from store.claims import Claim
from store.services import Services
from store.sweeping import DISPATCHER
from store.workers import Worker
from worker.engine import Engine
from worker.limits import Limits
from worker.sweeper import Role, Sweeper

logger = logging.getLogger(__name__)

_POLL_S = 0.5


@dataclass(frozen=True)
class Options:
    """Settings of the embedded engine.

    Args:
        children: children that run at the same time.
        sweep_ms: time between two sweeps.
        limits: how attempts are run.
        devices: where children compute; each new one takes the device with the fewest.
        datasets: the data sets that are there.
    """

    children: int
    sweep_ms: int
    limits: Limits
    devices: tuple[str, ...] = ("cpu",)
    datasets: tuple[str, ...] = ("digits",)


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

    def start(self) -> None:
        """Begin to work; what an earlier process of this instance left behind is queued again at once.

        Raises:
            Conflict: another service uses the same directory.
        """
        self._lock = _lock(self._home / "service.lock")
        try:
            name = _instance_name(self._home / "instance")
            limits = self._options.limits
            worker = Worker(
                name=name,
                host=socket.gethostname(),
                devices=self._options.devices,
                datasets=self._options.datasets,
                sandbox=limits.sandbox.level,
            )
            self._engine = Engine(self._services, worker, limits, self._stop)
            self._role = Role(self._services, DISPATCHER, name, limits.lease_ms)
            self._sweeper = Sweeper(self._services, self._role, self._options.sweep_ms)
            shutil.rmtree(limits.scratch, ignore_errors=True)
            claims.release_worker(self._services.db, name)
            self._services.db.doorbell = self
            self._loop.start()
        except BaseException:
            self._unlock()
            raise

    def ring(self, shard_ids: Sequence[int]) -> None:
        """Look for work at once instead of at the next turn."""
        self._wake.set()

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
                if self._role.held():
                    self._engine.show_life()
                    self._sweeper.turn()
                    self._fill()
            except Exception:  # a full disk or a locked database passes; the next turn tries again
                logger.exception("the dispatcher could not claim work")
                self._stop.wait(1)
            self._wake.wait(_POLL_S)
        for thread in list(self._running):
            thread.join()
        self._role.resign()
        self._engine.leave()

    def _fill(self) -> None:
        self._running = {thread: device for thread, device in self._running.items() if thread.is_alive()}
        while self._has_room():
            claim = self._engine.claim()
            if claim is None:
                return
            device = self._engine.device_for(claim, list(self._running.values()))
            thread = threading.Thread(target=self._attempt, args=(claim, device), name=f"work-{claim.shard_id}")
            self._running[thread] = device
            thread.start()

    def _has_room(self) -> bool:
        return len(self._running) < self._options.children and not self._stop.is_set()

    def _attempt(self, claim: Claim, device: str) -> None:
        try:
            self._engine.attempt(claim, device)
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
    name = path.read_text(encoding="ascii").strip() if path.exists() else ""
    if not name:  # a crash at the very first start can leave the file empty
        name = f"embedded-{secrets.token_hex(6)}"
        path.write_text(f"{name}\n", encoding="ascii")
    return name
