"""A backup back into an empty service: checked in full first, and then all of it or nothing."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

from sqlalchemy import Column, Integer, MetaData, Table, delete, func, insert, literal, select, text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import InternalError, OperationalError, StatementError
from sqlalchemy.orm import Session

from benchmark.errors import Conflict
from store.archive import ArchiveReader, InvalidBackup, Manifest
from store.backup import TRANSIENT
from store.blobs import Blobs
from store.database import Database, take_turns
from store.migrate import is_known, remake_on, upgrade_on
from store.queue import queue_again
from store.tables import ShardRow

_VERSION_TABLE = "alembic_version"
_NO_DATA = TRANSIENT | {"meta"}
"""Tables whose rows a schema has, or a process makes, before there is any data."""
_ROWS_AT_ONCE = 500


def restore(db: Database, blobs: Blobs, path: Path, *, progress: Callable[[int, int], None] | None = None) -> Manifest:
    """Put a backup into an empty database and its blobs.

    The rows are written in one transaction, after all blobs: where anything goes wrong, the database is as it was, and
    blobs that lie there already are what the next attempt would write.

    Args:
        db: an empty database, of any dialect.
        blobs: where the blobs go.
        path: the backup.
        progress: told the bytes done, of twice the file: it is read once to check it and once to restore it.
    Returns:
        What the backup holds.
    Raises:
        InvalidBackup: the file is no backup, or damaged.
        Conflict: the database holds data, or the backup is of a newer version.
    """
    size = path.stat().st_size

    def tell(done: int) -> None:
        if progress is not None:
            progress(done, 2 * size)

    with ArchiveReader(path, tell) as archive:
        if not is_known(archive.manifest.revision):
            raise Conflict.because(
                "backup",
                found=f"a schema of revision {archive.manifest.revision}, made by version {archive.manifest.program}",
                expected="a revision that this version of the program knows",
                remedy="restore it with that version of the program, or a newer one",
            )
        with db.snapshot() as session:
            _require_empty(session.connection())
        _put_blobs(archive, blobs, lambda done: tell(size + done))
        try:
            with db.transaction() as session:
                _put_rows(archive, session)
        except (StatementError, ValueError, TypeError, OverflowError) as error:
            if isinstance(error, OperationalError | InternalError):
                raise  # of the database, not of the rows
            found = f"rows that the database does not take ({type(error).__name__})"
            raise _unfit(found, "rows of a service's database") from error
        tell(2 * size)
        return archive.manifest


def _put_blobs(archive: ArchiveReader, blobs: Blobs, tell: Callable[[int], None]) -> None:
    done = 0
    for member in archive.blobs:
        writer = blobs.writer(member.bytes)
        try:
            for chunk in archive.chunks(member):
                writer.write(chunk)
                done += len(chunk)
                tell(done)
            writer.commit(member.sha256)
        finally:
            writer.abort()


def _put_rows(archive: ArchiveReader, session: Session) -> None:
    take_turns(session, "migrate")
    connection, rows = session.connection(), archive.manifest.rows
    _require_empty(connection)
    remake_on(connection, archive.manifest.revision)
    tables = _tables_of(connection)
    unknown = set(rows) - {table.name for table in tables}
    if unknown:
        raise _unfit(f"rows of a table {min(unknown)!r}", f"tables of revision {archive.manifest.revision}")
    for table in reversed(tables):
        connection.execute(delete(table))  # what the migrations themselves have put in
    for table in tables:
        if table.name in rows:
            _insert(connection, table, archive.rows(table.name))
    upgrade_on(connection)
    _give_back(session)
    _set_sequences(connection)


def _insert(connection: Connection, table: Table, rows: Iterator[dict[str, object]]) -> None:
    while batch := list(itertools.islice(rows, _ROWS_AT_ONCE)):
        connection.execute(insert(table), [_values(table, row) for row in batch])


def _values(table: Table, row: dict[str, object]) -> dict[str, object]:
    if set(row) != {column.name for column in table.columns}:
        raise _unfit(f"a row of {table.name} with other columns", "the columns of its schema")
    return {column.name: _value(column, row[column.name]) for column in table.columns}


def _value(column: Column[object], value: object) -> object:
    """Return the value as the column takes it; SQLite itself would store any value in any column."""
    kind = column.type.python_type
    if kind is bytes and isinstance(value, str):
        return base64.b64decode(value, validate=True)
    if value is None or type(value) is kind or (kind is float and type(value) is int):
        return value
    raise _unfit(f"{type(value).__name__} in the column {column.name}", f"{kind.__name__}")


def _give_back(session: Session) -> None:
    """Queue what somebody worked on when the backup was made; they will not bring it, and it is not their fault."""
    for shard in session.scalars(select(ShardRow).where(ShardRow.state == "running")):
        shard.attempt, shard.worker = shard.attempt - 1, None
        queue_again(session, shard)


def _set_sequences(connection: Connection) -> None:
    """Let PostgreSQL number new rows after the restored ones; SQLite does so by itself."""
    if connection.dialect.name != "postgresql":
        return
    for table in _tables_of(connection):
        for column in table.primary_key.columns:
            if isinstance(column.type, Integer):
                sequence = func.pg_get_serial_sequence(table.name, column.name)
                following = func.coalesce(select(func.max(column)).scalar_subquery() + 1, 1)
                connection.execute(select(func.setval(sequence, following, literal(value=False))))


def _require_empty(connection: Connection) -> None:
    for table in _tables_of(connection):
        if table.name in _NO_DATA:
            continue
        if connection.execute(select(text("1")).select_from(table).limit(1)).first() is not None:
            raise Conflict.because(
                "database",
                found=f"data in the table {table.name}",
                expected="an empty database",
                remedy="restore into a new database or directory, and start the service there",
            )


def _tables_of(connection: Connection) -> list[Table]:
    """Return the tables that the database has, those that others refer to first."""
    tables = MetaData()
    tables.reflect(connection)
    return [table for table in tables.sorted_tables if table.name != _VERSION_TABLE]


def _unfit(found: str, expected: str) -> InvalidBackup:
    return InvalidBackup.because(
        "backup", found=found, expected=expected, remedy="take another backup; nothing was restored"
    )
