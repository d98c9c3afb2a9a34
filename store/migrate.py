"""Brings a database to the newest version of the schema."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config

from store.database import Database

MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"


def upgrade(url: str, revision: str = "head") -> None:
    """Upgrade the database at that URL, in one transaction; a database that is up to date is left alone."""
    _run(url, revision, down=False)


def downgrade(url: str, revision: str = "base") -> None:
    """Take the database back to an older version; what only newer versions can hold is lost."""
    _run(url, revision, down=True)


def _run(url: str, revision: str, *, down: bool) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    database = Database(url)
    try:
        with database.transaction() as session:
            config.attributes["connection"] = session.connection()
            (command.downgrade if down else command.upgrade)(config, revision)
    finally:
        database.close()
