"""The service's own database, for the commands of its operator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from store.database import Database


@contextmanager
def own_database() -> Iterator[Database]:
    """Open the database that the settings name; it must exist and be of this version."""
    from gauntlet.app import open_database
    from gauntlet.settings import read_settings

    db = open_database(read_settings(), upgrading=False)
    try:
        yield db
    finally:
        db.close()
