from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.stack import Stack


@pytest.fixture(scope="module")
def shared() -> Iterator[Stack]:
    """A service with two workers, for all tests of a file."""
    with Stack() as stack:
        yield stack


@pytest.fixture
def stack(shared: Stack) -> Stack:
    """The same, with all of it running."""
    shared.mend()
    return shared
