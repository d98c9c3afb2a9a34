"""Brings a database to the newest version of the schema."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Connection

from benchmark.errors import InvalidInput
from store.database import Database, take_turns

MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"


def upgrade(url: str, revision: str = "head") -> None:
    """Upgrade the database at that URL, in one transaction; a database that is up to date is left alone."""
    _run(url, revision, down=False)


def downgrade(url: str, revision: str = "base") -> None:
    """Take the database back to an older version; what only newer versions can hold is lost."""
    _run(url, revision, down=True)


@cache
def program_revision() -> str:
    """Return the schema's revision that this version of the program works with."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    if revision is None:
        raise RuntimeError("the program has no migrations")
    return revision


def revision_of(connection: Connection) -> str | None:
    """Return the revision of a database's schema; None where there is no schema."""
    return MigrationContext.configure(connection).get_current_revision()


def require_newest(url: str) -> None:
    """Raise where the database is not of this version; a worker leaves bringing it up to date to the service.

    Raises:
        InvalidInput: the database was made by another version, or by none yet.
    """
    database = Database(url)
    try:
        with database.engine.connect() as connection:
            found = revision_of(connection)
    finally:
        database.close()
    if found != program_revision():
        raise InvalidInput.because(
            "database_url",
            found=f"a database of version {found or 'none'}",
            expected=f"one of version {program_revision()}",
            remedy="start `gauntlet serve` of this version first; it brings the database up to date",
        )


def _run(url: str, revision: str, *, down: bool) -> None:
    config = _config()
    database = Database(url)
    try:
        with database.transaction() as session:
            take_turns(session, "migrate")  # as services do that start at the same moment
            config.attributes["connection"] = session.connection()
            (command.downgrade if down else command.upgrade)(config, revision)
    finally:
        database.close()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
