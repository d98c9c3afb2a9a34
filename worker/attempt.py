"""One attempt at a piece of work: a child process, watched by its parent.

The parent holds the lease and the database; the child computes and holds neither. Whatever the child says or writes is
hostile until validated, and the whole process group ends with the attempt.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextvars import copy_context
from pathlib import Path

from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError

from store import claims
from store.claims import Beat, Claim
from store.errors import StaleClaim, StorageFull, StorageUnavailable
from store.services import Services
from store.views import Progress
from worker import messages, process, tasks
from worker.endings import Broken, Discarded, Stopped
from worker.handover import Handover
from worker.limits import Limits
from worker.messages import Failed, Message, Progressed, Saved
from worker.process import Child
from worker.tasks import Final, Task

logger = logging.getLogger(__name__)

_HEAR_S = 0.2
_LOOK_EVERY_S = 1.0
_LAST_WORD_S = 60.0
"""Time that a child has to end after its last message, on a machine that has too much to do."""


def run_attempt(services: Services, claim: Claim, limits: Limits, stop: threading.Event) -> None:
    """Run the claimed work in a child and bring the outcome to the store.

    Every end of the child has its way: a result is stored, a failure is reported, a lost lease is respected, and at a
    shutdown the work is given back. Only errors of the store itself are raised.
    """
    limits.scratch.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f"{claim.shard_id}-", dir=limits.scratch))
    try:
        attempt = _Attempt(services, claim, limits, Handover(services.blobs, scratch), stop)
        with process.started(limits.command, limits.sandbox, scratch, limits.threads, limits.device) as child:
            attempt.follow(child)
        attempt.bring_outcome()
    except (Discarded, StaleClaim):
        logger.info("work %s was given up: the lease is no longer held", claim.shard_id)
    except Stopped:
        with contextlib.suppress(StaleClaim):
            claims.release(services.db, claim)
    except Broken as error:
        logger.warning("attempt %s of work %s broke off: %s", claim.attempt, claim.shard_id, error)
        tasks.report_failure(services, claim, str(error), "service")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


class _Attempt:
    """What the parent knows while the child runs."""

    def __init__(
        self, services: Services, claim: Claim, limits: Limits, handover: Handover, stop: threading.Event
    ) -> None:
        self._services, self._claim, self._limits = services, claim, limits
        self._handover, self._stop = handover, stop
        self._task = Task(services, claim, limits, handover)
        now = time.monotonic()
        self._give_up_at = now + limits.wall_clock_s
        self._heard_at = self._beaten_at = self._looked_at = now
        self._progress = self._told = Progress()
        self._snapshots = 0
        self._final: Final | None = None

    def follow(self, child: Child) -> None:
        """Give the child its work and follow it to its end.

        Raises:
            Broken: it came to no sound end.
            Discarded: the lease is no longer held.
            Stopped: the service shuts down.
        """
        with self._holding_on():
            request = tasks.request_of(self._task)
        child.ask(request)
        while not child.silent:
            if self._stop.is_set():
                raise Stopped
            for line in child.hear(_HEAR_S):
                self._take(line)
            now = time.monotonic()
            self._hold_on(now)
            self._handover.check_room()
            if now > self._give_up_at:
                raise Broken("the evaluation process did not end in time")
            if now - self._heard_at > self._limits.silence_s:
                raise Broken(f"the evaluation process said nothing for {self._limits.silence_s:g} seconds")
        ending = child.ending()
        if self._final is None or (ending and not isinstance(self._final, Failed)):
            logger.warning("the child of work %s said at last: %s", self._claim.shard_id, child.log)
            raise Broken(f"the evaluation process ended with {ending or 'no answer'}")

    def bring_outcome(self) -> None:
        """Bring the child's last word to the store."""
        with self._holding_on():
            if self._final is not None:
                tasks.bring(self._final, self._task)

    def _take(self, line: bytes) -> None:
        try:
            message: Message = messages.MESSAGE.validate_json(line)
        except ValidationError:
            raise Broken("the evaluation process sent something that is no message") from None
        if self._final is not None:
            raise Broken("the evaluation process went on after its last message")
        self._heard_at = time.monotonic()
        if isinstance(message, Failed):
            self._final = message
        elif not isinstance(message, tasks.ANSWERS[self._claim.kind]):
            raise Broken("the evaluation process answered another question")
        elif isinstance(message, Progressed):
            self._progress = Progress.model_validate(message.model_dump(exclude={"type"}))
        elif isinstance(message, Saved):
            self._save(message)
        else:
            self._final = message
        if self._final is not None:
            self._give_up_at = min(self._give_up_at, self._heard_at + _LAST_WORD_S)

    def _save(self, message: Saved) -> None:
        self._snapshots += 1
        if message.number != self._snapshots:
            raise Broken("the evaluation process left out a snapshot")
        try:
            with self._holding_on():
                snapshot = self._handover.keep(messages.SNAPSHOT_FILE.format(message.number))
            claims.save_checkpoint(self._services.db, self._claim, snapshot)
        except (StorageFull, StorageUnavailable, DBAPIError) as error:
            # The next one may find room; until then the one before it serves.
            logger.warning("a snapshot of work %s was not kept: %s", self._claim.shard_id, error)
        self._heard_at = time.monotonic()  # what the child said meanwhile has not been read

    @contextlib.contextmanager
    def _holding_on(self) -> Iterator[None]:
        """Renew the lease while files are on their way: to a store on another machine that may take longer than it.

        Where the lease is lost nothing is broken off; the store refuses what is written without it.
        """
        arrived = threading.Event()

        def hold_on() -> None:
            while not arrived.wait(min(_LOOK_EVERY_S, self._limits.beat_ms / 1000)):
                try:
                    self._hold_on(time.monotonic())
                except Discarded:
                    return

        holder = threading.Thread(target=copy_context().run, args=(hold_on,))  # it logs about the same work
        holder.start()
        try:
            yield
        finally:
            arrived.set()
            holder.join()

    def _hold_on(self, now: float) -> None:
        """Renew the lease when it is time, and learn soon where it is lost or the submission cancelled.

        A database that does not answer is asked again, until by our own clock the lease has run out.
        """
        since = now - self._beaten_at
        news = self._progress != self._told and since >= _LOOK_EVERY_S
        try:
            if news or since >= self._limits.beat_ms / 1000:
                self._beat()
            elif now - self._looked_at >= _LOOK_EVERY_S:
                self._looked_at = now
                if not claims.still_held(self._services.db, self._claim):
                    raise Discarded
        except DBAPIError as error:
            if since * 1000 > self._limits.lease_ms:
                raise Discarded from error
            logger.warning("the lease on work %s could not be renewed yet: %s", self._claim.shard_id, error)

    def _beat(self) -> None:
        progress = self._progress
        if claims.beat(self._services.db, self._claim, self._limits.lease_ms, progress) is not Beat.RENEWED:
            raise Discarded
        self._beaten_at = self._looked_at = time.monotonic()
        self._told = progress
