from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from store.actors import Actor, Role
from store.blobs import LocalBlobs
from store.database import Database
from store.migrate import upgrade
from store.services import Services
from tests.running import Running, prepared
from tests.s3_server import s3_credentials, s3_server
from tests.servers import Databases
from tests.store.deciders import person
from tests.store.material import Rules
from tests.store.places import Place, http_place, local_place, s3_place, service_for_workers

__all__ = ["prepared", "s3_credentials", "s3_server"]


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


@pytest.fixture(params=["local", "http", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Each of the places where blobs may lie."""
    with ExitStack() as stack:
        if request.param == "local":
            yield stack.enter_context(local_place(tmp_path))
        elif request.param == "http":
            yield stack.enter_context(http_place(tmp_path, request.getfixturevalue("blob_service")))
        else:
            request.getfixturevalue("s3_credentials")
            yield stack.enter_context(s3_place(tmp_path, request.getfixturevalue("s3_server")))


@pytest.fixture
def blob_service(prepared: Path, tmp_path: Path) -> Iterator[Running]:
    """A running service that offers its files to workers."""
    with service_for_workers(prepared, tmp_path) as service:
        yield service


@pytest.fixture
def rules() -> Rules:
    return Rules()


@pytest.fixture
def services(db: Database, blobs: LocalBlobs, rules: Rules) -> Services:
    """A store of the test's own, on both dialects."""
    return Services(db, blobs, rules, rules.max_checkpoint_bytes)


@pytest.fixture
def owner(services: Services) -> Actor:
    """Somebody with an account, who sends submissions."""
    return person(services.db, "owner")


@pytest.fixture
def maintainer(services: Services) -> Actor:
    """Somebody who decides about them."""
    return person(services.db, "maintainer", Role.MAINTAINER)
