"""A worker of the distributed engine: a process that waits for the bell and does what is queued."""

from __future__ import annotations

import logging
import os
import signal
import threading

from celery import Celery, signals
from celery.worker import state
from sqlalchemy.exc import SQLAlchemyError

from benchmark.errors import GauntletError
from store.doorbell import Doorbell
from worker.celery_app import TASK
from worker.engine import Engine

logger = logging.getLogger(__name__)

ANY = 0
"""In place of the number of a piece of work: whatever there is."""
_TURN_S = 1.0


class WorkerEnded(GauntletError):
    """A worker ended that nobody had told to."""

    code = "worker_ended"


def stop_at_signals(stop: threading.Event) -> None:
    """Have SIGINT and SIGTERM end the worker in order from now on; once it has started, Celery does that itself."""

    def end(_number: int, _frame: object) -> None:
        stop.set()
        state.should_stop = os.EX_OK  # the first thing that a worker of Celery's looks at

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)


def serve_work(app: Celery, engine: Engine, stop: threading.Event, bell: Doorbell) -> None:
    """Work until a signal says that it is enough; what is under way then is given back with its last snapshot.

    One thread does one piece of work at a time. It outlives every child that it starts, as the children need.

    Args:
        app: the broker's.
        engine: claims and attempts.
        stop: set at the first signal.
        bell: rung at the start, for what was queued before this worker came.
    Raises:
        WorkerEnded: it can hear the broker no longer; whoever looks after the process starts it again.
    """

    @app.task(name=TASK)  # type: ignore[untyped-decorator]
    def work(shard_id: int) -> None:
        logger.debug("the bell rang for work %s", shard_id)
        engine.work_until_idle()

    def shut_down(**_: object) -> None:
        stop.set()

    def leave_logging(**_: object) -> None:
        """Whoever answers this signal keeps Celery from setting the root logger to its own level."""

    signals.worker_shutting_down.connect(shut_down)
    signals.setup_logging.connect(leave_logging)
    life = threading.Thread(target=_show_life, args=(engine, stop), name="life", daemon=True)
    life.start()
    try:
        bell.ring((ANY,))
        worker = app.Worker(
            pool="threads",
            concurrency=1,
            hostname=f"{engine.worker.name}@%h",
            without_gossip=True,
            without_mingle=True,
            loglevel=None,
            quiet=True,
        )
        worker.start()
        if worker.exitcode and not stop.is_set():
            raise WorkerEnded("The worker could not go on; its log says why. Its work is done by another.")
    finally:
        stop.set()
        life.join()
        signals.worker_shutting_down.disconnect(shut_down)
        signals.setup_logging.disconnect(leave_logging)
        engine.leave()


def _show_life(engine: Engine, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            engine.show_life()
        except SQLAlchemyError as error:  # a database that is away comes back; the work itself has its own lease
            logger.warning("the worker could not show that it is alive: %s", error)
        stop.wait(_TURN_S)
