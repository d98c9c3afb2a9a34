"""Settings under which every test runs: one thread, examples that repeat, and none of the developer's environment.

And the servers that tests share: whoever asks for one of these fixtures gets a real PostgreSQL or Redis.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from hypothesis import settings

from benchmark.allocator import keep_freed_memory
from store.migrate import upgrade
from tests import servers

# Read by torch when it is first imported, here and in every child process.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"

keep_freed_memory()

# The same examples in every run; a slow machine is no failure.
settings.register_profile("gauntlet", derandomize=True, deadline=None, database=None, print_blob=True)
settings.load_profile("gauntlet")

# The developer's own settings of the service must not leak into its tests. What is said of the tests' servers is kept
# under a name that is no setting's, for processes that pytest-xdist starts from this one.
for name in [name for name in os.environ if name.startswith("GAUNTLET_")]:
    value = os.environ.pop(name)
    if name in {"GAUNTLET_TEST_POSTGRES_URL", "GAUNTLET_TEST_REDIS_URL"}:
        os.environ[name.removeprefix("GAUNTLET_")] = value
# No test asks the network for anything, nor looks into the developer's cache.
os.environ["GAUNTLET_OFFLINE"] = "1"


@pytest.fixture(autouse=True)
def _own_directory(tmp_path: os.PathLike[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep whatever a test writes by default, such as ./var, out of the repository."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GAUNTLET_CACHE", str(Path(tmp_path, "cache")))


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL server; the URL is that of a database nobody writes to."""
    with servers.postgres_url() as url:
        yield url


@pytest.fixture(scope="session")
def postgres_databases(postgres_url: str) -> Iterator[servers.Databases]:
    """What makes databases on that server."""
    databases = servers.Databases(postgres_url)
    yield databases
    databases.close()


@pytest.fixture(scope="session")
def postgres_template(postgres_databases: servers.Databases) -> Iterator[str]:
    """A PostgreSQL database with the schema and nothing in it, to be copied."""
    with postgres_databases.database() as url:
        upgrade(url)
        yield url


@pytest.fixture
def postgres_database(postgres_databases: servers.Databases, postgres_template: str) -> Iterator[str]:
    """A PostgreSQL database of the test's own, with the schema and nothing in it."""
    with postgres_databases.database(postgres_template) as url:
        yield url


@pytest.fixture(scope="session")
def redis_server() -> Iterator[str]:
    """A Redis server."""
    with servers.redis_url() as url:
        yield url


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """A Redis database with nothing in it."""
    with redis.Redis.from_url(redis_server) as connection:
        connection.flushdb()
    return redis_server
