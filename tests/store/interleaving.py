"""Two use cases at once, in every order that matters, without waiting for luck.

The first runs in one thread. Before one of its statements, or before a commit, it pauses while the second runs in
another thread, until that is done or waits for a lock that the first one holds. Then the first goes on. On SQLite it
pauses only where a transaction begins, for within one nobody else writes.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import event, text
from sqlalchemy.engine import Connection

from store.database import Database

LONGEST_S = 30.0
# SQLite does not tell who waits; whoever takes longer than this is taken to wait, and is overtaken if it does not.
SQLITE_PAUSE_S = 0.02
_WAITING = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
# What reads no row and locks none is no step of its own.
_STEPS = {
    "sqlite": re.compile("BEGIN"),
    "postgresql": re.compile(r"(?!SET |SELECT set_config|SELECT CAST\(EXTRACT\(EPOCH FROM clock)"),
}

Act = Callable[[], object]


@dataclass
class Outcome:
    """What came of a use case: its result, or what it raised."""

    result: object = None
    error: BaseException | None = None
    steps: int = 0
    """How many times it could have been interrupted."""


@dataclass
class _Thread:
    act: Act
    outcome: Outcome = field(default_factory=Outcome)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            self.outcome.result = self.act()
        except Exception as error:  # noqa: BLE001  # handed to the test, which knows which ones may come
            self.outcome.error = error

    def join(self) -> Outcome:
        self.thread.join(LONGEST_S)
        assert not self.thread.is_alive(), "a use case waits for ever"
        return self.outcome


def at_once(*acts: Act) -> list[Outcome]:
    """Run all of them, each in a thread of its own, from the same moment on."""
    together = threading.Barrier(len(acts))

    def after_the_others(act: Act) -> Act:
        def start() -> object:
            together.wait(LONGEST_S)
            return act()

        return start

    threads = [_Thread(after_the_others(act)) for act in acts]
    for each in threads:
        each.thread.start()
    return [each.join() for each in threads]


def interleaved(db: Database, first: Act, second: Act, step: int) -> tuple[Outcome, Outcome]:
    """Run the second while the first stands before its step number ``step``, counted from 0; else after it."""
    running, interrupting = _Thread(first), _Thread(second)

    def interrupt() -> None:
        interrupting.thread.start()
        deadline = time.monotonic() + LONGEST_S
        while interrupting.thread.is_alive() and not _waits(db, interrupting.thread):
            assert time.monotonic() < deadline, "the second use case neither ends nor waits"

    with _counted(db, running, step, interrupt):
        running.thread.start()
        one = running.join()
    if not interrupting.thread.ident:
        interrupting.thread.start()
    return one, interrupting.join()


def _waits(db: Database, thread: threading.Thread) -> bool:
    if db.engine.dialect.name == "sqlite":
        thread.join(SQLITE_PAUSE_S)
        return True
    thread.join(0.002)
    with db.engine.connect() as connection:
        return bool(connection.execute(_WAITING).scalar_one())


@contextmanager
def _counted(db: Database, running: _Thread, step: int, act: Callable[[], None]) -> Iterator[None]:
    def note(_connection: Connection, _cursor: object = None, statement: str = "COMMIT", *_: object) -> None:
        if threading.current_thread() is not running.thread or asking.is_set() or not steps.match(statement):
            return
        running.outcome.steps += 1
        if running.outcome.steps == step + 1:
            asking.set()  # what the pause itself asks the database is no step
            act()
            asking.clear()

    asking = threading.Event()
    steps = _STEPS[db.engine.dialect.name]
    event.listen(db.engine, "before_cursor_execute", note)
    event.listen(db.engine, "commit", note)
    yield
    event.remove(db.engine, "before_cursor_execute", note)
    event.remove(db.engine, "commit", note)
