from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from store.blobs import LocalBlobs
from store.database import Database
from store.migrate import upgrade
from tests.servers import Databases
from tests.store.material import Rules


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file with the schema and nothing in it."""
    path = tmp_path_factory.mktemp("schema") / "empty.sqlite"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def on_sqlite(migrated: Path, tmp_path: Path) -> Iterator[Database]:
    """An SQLite database of the test's own, with the schema and nothing in it."""
    path = tmp_path / "gauntlet.sqlite"
    shutil.copy(migrated, path)
    with closing(Database(f"sqlite:///{path}")) as database:
        yield database


@pytest.fixture
def on_postgresql(postgres_database: str) -> Iterator[Database]:
    """A PostgreSQL database of the test's own, with the schema and nothing in it."""
    with closing(Database(postgres_database)) as database:
        yield database


@pytest.fixture(params=["sqlite", "postgresql"])
def db(request: pytest.FixtureRequest) -> Database:
    """A database of the test's own: every test that asks for one runs on both dialects."""
    database: Database = request.getfixturevalue(f"on_{request.param}")
    return database


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database(request: pytest.FixtureRequest, tmp_path: Path, postgres_databases: Databases) -> Iterator[str]:
    """A database without a schema."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'a%b' / 'new.sqlite'}"
        return
    with postgres_databases.database() as url:
        yield url


@pytest.fixture
def blobs(tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(tmp_path / "blobs", free_floor_bytes=0)


@pytest.fixture
def rules() -> Rules:
    return Rules()
