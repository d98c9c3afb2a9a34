from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.house.layout import ROOT

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = re.findall(r"^([a-z-]+):", MAKEFILE, flags=re.MULTILINE)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with a space in its name, a Makefile, an environment and data that somebody cares about."""
    folder = tmp_path / "my clone"
    build_outputs = ("build/lib/old", "api/__pycache__/old.pyc")
    for path in ("var/blobs/model", "var/__pycache__/kept", ".venv/bin/python", *build_outputs):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()
    shutil.copy(ROOT / "Makefile", folder)
    return folder


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=60)


def test_every_target_is_phony_and_has_a_sentence_in_the_help() -> None:
    listed = dict(re.findall(r"^  make (\S+) +(.+)$", make(ROOT, "help").stdout, flags=re.MULTILINE))
    assert list(listed) == TARGETS
    assert re.findall(r"^\.PHONY: (\S+)$", MAKEFILE, flags=re.MULTILINE) == TARGETS
    assert [target for target, sentence in listed.items() if not re.match(r"[A-Z].*[^ ]$", sentence)] == []


def test_make_alone_shows_the_help() -> None:
    assert make(ROOT).stdout == make(ROOT, "help").stdout


def test_clean_keeps_the_data_and_the_environment(clone: Path) -> None:
    assert make(clone, "clean").returncode == 0
    left = sorted(str(path.relative_to(clone)) for path in clone.rglob("*") if path.is_file())
    assert left == [".venv/bin/python", "Makefile", "var/__pycache__/kept", "var/blobs/model"]


def test_reset_deletes_the_data_only_when_confirmed(clone: Path) -> None:
    refused = make(clone, "reset")
    assert refused.returncode != 0
    assert "CONFIRM=yes" in refused.stderr
    assert (clone / "var/blobs/model").exists()

    assert make(clone, "reset", "CONFIRM=yes").returncode == 0
    assert not (clone / "var").exists()


@pytest.mark.slow
def test_only_reset_touches_the_data(clone: Path) -> None:
    (clone / ".venv/.ready").touch()
    (clone / "bench").mkdir()
    for path in ("pyproject.toml", "requirements.lock", "bench/torchattacks.lock"):
        shutil.copy(ROOT / path, clone / path)
    for target in set(TARGETS) - {"reset"}:
        recipe = make(clone, "--dry-run", target).stdout
        assert not re.search(r"\brm\b.*\bvar\b(?!/\*)", recipe), target
