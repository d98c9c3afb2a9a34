"""A backup of a running service: all rows as of one moment, and every blob that they refer to."""

from __future__ import annotations

import base64
import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import LargeBinary, Table, select
from sqlalchemy.orm import Session

from benchmark.errors import Conflict, InvalidInput, NotFound
from store.archive import ArchiveWriter, Manifest
from store.blobs import Blobs
from store.database import Database
from store.migrate import program_revision, revision_of
from store.tables import Base

TRANSIENT = frozenset({"lease", "worker"})
"""Tables about processes that run now; a backup leaves them out."""
BLOBS = (
    ("submission", "checkpoint_sha256"),
    ("shard", "checkpoint"),
    ("shard", "report_sha256"),
    ("shard", "x_adv_sha256"),
    ("shard", "second_sha256"),
    ("run", "gallery_sha256"),
    ("report", "points_sha256"),
    ("entry", "best_known_sha256"),
    ("external", "examples_sha256"),
)
"""Every column that refers to a blob."""
_ROWS_AT_ONCE = 500

Counted = Callable[[int, int], None]
"""Told how many files are saved, of how many."""


def save(db: Database, blobs: Blobs, path: Path, *, program: str, progress: Counted | None = None) -> Manifest:
    """Write a backup to a new file, readable by its owner alone; on any error there is no file.

    The service may go on meanwhile: rows are read in one transaction, and a blob never changes.

    Args:
        db: the database.
        blobs: the blobs.
        path: where to write.
        program: version of the program.
        progress: told how many blobs are saved.
    Returns:
        What the backup holds; where blobs that rows refer to were gone or damaged, they are named as lost.
    Raises:
        Conflict: the database's schema is another version's.
        InvalidInput: there is a file of that name already.
    """
    if path.exists():
        raise InvalidInput.because(
            "file", found=f"{str(path)!r}, which exists", expected="a new file", remedy="choose another name"
        )
    made_at = datetime.now(UTC).isoformat(timespec="seconds")
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.absolute().parent)
    part = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            archive = ArchiveWriter(file)
            referred = _save_rows(db, archive)
            lost = _save_blobs(blobs, sorted(referred), archive, progress)
            manifest = archive.seal(program=program, revision=program_revision(), made_at=made_at, lost=lost)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return manifest


def _save_rows(db: Database, archive: ArchiveWriter) -> set[str]:
    """Save every table; return the blobs that its rows refer to."""
    with db.snapshot() as session:
        _require_own_schema(session)
        for table in Base.metadata.sorted_tables:
            if table.name not in TRANSIENT:
                archive.add_rows(table.name, _rows(session, table))
        referred: set[str] = set()
        for name, column in BLOBS:
            columns = Base.metadata.tables[name].c
            wanted = select(columns[column]).where(columns[column].is_not(None)).distinct()
            if name == "submission":
                wanted = wanted.where(columns["checkpoint_deleted_ms"].is_(None))
            referred.update(session.scalars(wanted))
        return referred


def _require_own_schema(session: Session) -> None:
    revision = revision_of(session.connection())
    if revision != program_revision():
        raise Conflict.because(
            "database",
            found="no schema" if revision is None else f"a schema of revision {revision}",
            expected=f"revision {program_revision()}",
            remedy="run the version of the program that serves this database, or start the service once to upgrade it",
        )


def _rows(session: Session, table: Table) -> Iterator[dict[str, object]]:
    query = select(table).order_by(*table.primary_key.columns).execution_options(yield_per=_ROWS_AT_ONCE)
    binary = {column.name for column in table.columns if isinstance(column.type, LargeBinary)}
    for row in session.execute(query).mappings():
        yield {
            name: base64.b64encode(value).decode() if name in binary and value is not None else value
            for name, value in row.items()
        }


def _save_blobs(blobs: Blobs, wanted: list[str], archive: ArchiveWriter, progress: Counted | None) -> list[str]:
    """Save the blobs; return those that are gone or damaged."""
    lost = []
    for number, sha256 in enumerate(wanted, 1):
        sound = False
        with contextlib.suppress(NotFound, FileNotFoundError), blobs.path(sha256).open("rb") as file:
            sound = archive.add_blob(sha256, file, os.fstat(file.fileno()).st_size)
        if not sound:
            lost.append(sha256)
        if progress is not None:
            progress(number, len(wanted))
    return lost
