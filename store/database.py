"""The connection to the database, and the little that differs between its dialects."""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from store.doorbell import Doorbell, Silence
from store.tables import Base

BUSY_TIMEOUT_MS = 30_000
"""How long a transaction waits for one that holds what it wants to change."""
SILENCE_MS = 20_000
"""How long a transaction that may write is left without a statement before PostgreSQL ends it: its client is gone."""

DAY_MS = 24 * 3600 * 1000
GREATEST_NUMBER = 2**31 - 1
"""Greatest number of a row, or of rows, that both dialects take."""

_QUEUED = "queued"
_LOCK_CONFLICTS = frozenset({"55P03", "40P01"})
"""PostgreSQL's codes for a lock that was not to be waited for, and for two transactions that wait for each other."""

_NOW_MS = {
    "sqlite": "SELECT CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER)",
    "postgresql": "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
}


class Database:
    """A database by its URL; every use case runs inside one `transaction` or `snapshot`.

    Args:
        url: an SQLAlchemy URL, such as "sqlite:///var/gauntlet.sqlite".
        doorbell: rung for work that a transaction has queued, once it is committed.
    """

    def __init__(self, url: str, doorbell: Doorbell | None = None) -> None:
        self.url = url
        self.doorbell = doorbell or Silence()
        self.engine = _engine(url)
        self._writer = self.engine.execution_options(gauntlet_writes=True)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Yield a session that may write; commit at the end, then ring for the work it queued; roll back on any error.

        On SQLite the write lock is taken at once, so that a transaction never fails half-way for want of it. On
        PostgreSQL transactions run side by side, and each of their statements sees what others have committed by then:
        what is read in order to be changed is read FOR UPDATE, or after `take_turns`.
        """
        with Session(self._writer, expire_on_commit=False) as session:
            with session.begin():
                yield session
            queued = session.info.get(_QUEUED)
        if queued:
            self.doorbell.ring(queued)

    @contextmanager
    def snapshot(self) -> Iterator[Session]:
        """Yield a session that only reads, all of it from one moment."""
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            if session.get_bind().dialect.name == "postgresql":
                session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
            yield session

    def close(self) -> None:
        """Close all pooled connections."""
        self.engine.dispose()


def ring_after_commit(session: Session, shard_id: int) -> None:
    """Have the bell rung for this piece of work once the session's transaction is committed."""
    session.info.setdefault(_QUEUED, []).append(shard_id)


def upsert(session: Session, table: type[Base], key: dict[str, Any], values: dict[str, Any]) -> None:
    """Insert a row, or update the one that has the key, whoever else does so at the same moment."""
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    session.execute(insert(table).values(**key, **values).on_conflict_do_update(index_elements=list(key), set_=values))


def is_lock_conflict(error: DBAPIError) -> bool:
    """Tell whether a transaction only failed because another one was in its way, so that it may be tried again."""
    return getattr(error.orig, "sqlstate", None) in _LOCK_CONFLICTS


def database_now_ms(connection: Session | Connection) -> int:
    """Return the database's clock in integer milliseconds since 1970, the only clock that leases are measured by."""
    dialect = connection.get_bind().dialect if isinstance(connection, Session) else connection.dialect
    now: int = connection.execute(text(_NOW_MS[dialect.name])).scalar_one()
    return now


def new_id(now_ms: int) -> str:
    """Return an id that nobody guesses; those of one table sort in the order of arrival.

    Args:
        now_ms: the time by the database's clock.
    """
    return f"{now_ms:012x}{secrets.token_hex(4)}"


def take_turns(session: Session, what: str) -> None:
    """Wait until no other transaction that takes its turn at the same thing runs; it ends with the transaction.

    On SQLite every transaction that may write does so anyway.
    """
    if session.get_bind().dialect.name == "postgresql":
        key = int.from_bytes(hashlib.sha256(f"gauntlet {what}".encode()).digest()[:8], signed=True)
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})


def _engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        engine = create_engine(url, pool_pre_ping=True)
        if parsed.get_backend_name() == "postgresql":
            event.listen(engine, "begin", _begin_postgresql)
        return engine
    if parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000})
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _configure_sqlite(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    if not isinstance(connection, sqlite3.Connection):
        raise TypeError("the SQLite engine expects the standard library's driver")
    connection.isolation_level = None  # the driver's own implicit BEGIN comes too late and is never IMMEDIATE
    _use_write_ahead_log(connection)
    for pragma in ("foreign_keys=ON", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Change the file's mode, which SQLite refuses at once, without its usual patience, while somebody else writes."""
    deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if _writes(connection) else "BEGIN")


def _begin_postgresql(connection: Connection) -> None:
    """Let nobody wait for ever, neither for a lock nor, with one held, for a process that was paused or lost."""
    if _writes(connection):
        patience = {"lock_timeout": BUSY_TIMEOUT_MS, "idle_in_transaction_session_timeout": SILENCE_MS}
        settings = ", ".join(f"set_config('{name}', '{value}', true)" for name, value in patience.items())
        connection.exec_driver_sql(f"SELECT {settings}").close()


def _writes(connection: Connection) -> bool:
    return bool(connection.get_execution_options().get("gauntlet_writes", False))
