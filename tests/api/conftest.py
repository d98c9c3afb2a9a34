"""The service that the API's tests talk to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import Running, quiet_settings, running


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Running]:
    """A service of the test's own, empty."""
    with running(quiet_settings(tmp_path / "var")) as service:
        yield service
