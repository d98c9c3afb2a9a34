"""Settings under which every test runs: one thread, examples that repeat, and none of the developer's environment."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from benchmark.allocator import keep_freed_memory

# Read by torch when it is first imported, here and in every child process.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"

keep_freed_memory()

# The same examples in every run; a slow machine is no failure.
settings.register_profile("gauntlet", derandomize=True, deadline=None, database=None, print_blob=True)
settings.load_profile("gauntlet")

# The developer's own settings of the service must not leak into its tests.
for name in [name for name in os.environ if name.startswith("GAUNTLET_")]:
    del os.environ[name]


@pytest.fixture(autouse=True)
def _own_directory(tmp_path: os.PathLike[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep whatever a test writes by default, such as ./var, out of the repository."""
    monkeypatch.chdir(tmp_path)
