"""Where the repository's parts are."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("api", "benchmark", "gauntlet", "migrations", "model_zoo", "store", "web", "worker")


def python_files() -> list[Path]:
    """Every Python file that people wrote here: the rooms, the tests and the measurements."""
    folders = (*ROOMS, "tests", "bench")
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def room_files() -> list[Path]:
    """Every file of the rooms, code and data, relative to the root."""
    files = (path for room in ROOMS for path in (ROOT / room).rglob("*") if path.is_file())
    return sorted(path.relative_to(ROOT) for path in files if "__pycache__" not in path.parts)
