"""Brings a database to the newest version of the schema."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Connection, make_url

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
    found = _revision_at(url)
    if found != program_revision():
        raise InvalidInput.because(
            "database_url",
            found=f"a database of version {found or 'none'}",
            expected=f"one of version {program_revision()}",
            remedy="start `gauntlet serve` of this version first; it brings the database up to date",
        )


def _revision_at(url: str) -> str | None:
    """Return the revision of the schema at that URL; SQLite would make a file where there is none."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database and not Path(parsed.database).exists():
        return None
    database = Database(url)
    try:
        with database.engine.connect() as connection:
            return revision_of(connection)
    finally:
        database.close()


def is_known(revision: str) -> bool:
    """Tell whether this version of the program can bring a schema of that revision up to date."""
    return revision in {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def upgrade_on(connection: Connection, revision: str = "head") -> None:
    """Upgrade the schema within the connection's transaction."""
    command.upgrade(_config(connection), revision)


def remake_on(connection: Connection, revision: str) -> None:
    """Make the schema of that revision anew within the connection's transaction; whatever was in it is lost."""
    if revision_of(connection) is not None:
        command.downgrade(_config(connection), "base")
    command.upgrade(_config(connection), revision)


def _run(url: str, revision: str, *, down: bool) -> None:
    database = Database(url)
    try:
        with database.transaction() as session:
            take_turns(session, "migrate")  # as services do that start at the same moment
            (command.downgrade if down else command.upgrade)(_config(session.connection()), revision)
    finally:
        database.close()


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    if connection is not None:
        config.attributes["connection"] = connection
    return config
