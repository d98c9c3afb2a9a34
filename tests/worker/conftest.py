from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from store.migrate import upgrade
from store.services import Services
from tests.worker.work import copied, opened


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file with the schema and nothing in it."""
    path = tmp_path_factory.mktemp("schema") / "empty.sqlite"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def services(migrated: Path, tmp_path: Path) -> Iterator[Services]:
    """A store of the test's own."""
    with opened(tmp_path, copied(migrated, tmp_path)) as services:
        yield services
