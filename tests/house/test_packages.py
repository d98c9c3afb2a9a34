from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.house.layout import ROOMS, ROOT, room_files


def packages() -> list[str]:
    """Every package of the rooms that says what it exports."""
    files = [path for room in ROOMS for path in sorted((ROOT / room).rglob("__init__.py"))]
    exporting = [path for path in files if "__all__" in path.read_text(encoding="utf-8")]
    return [".".join(path.parent.relative_to(ROOT).parts) for path in exporting]


@pytest.mark.parametrize("name", packages())
def test_exported_names_exist(name: str) -> None:
    package = importlib.import_module(name)
    missing = [exported for exported in package.__all__ if getattr(package, exported, None) is None]
    assert missing == []


def test_the_service_imports_without_torch() -> None:
    """Every module of the service, in a fresh process; only the child and what authors call may load torch."""
    program = f"""
import importlib, pkgutil, sys
sys.path.insert(0, {str(ROOT)!r})
count = 0
for room in ("api", "store", "web", "worker", "gauntlet"):
    package = importlib.import_module(room)
    for module in pkgutil.walk_packages(package.__path__, room + "."):
        apart = module.name in ("gauntlet.converting", "gauntlet.exporting") or module.name.endswith("__main__")
        if not apart and not (module.name + ".").startswith("worker.child."):
            importlib.import_module(module.name)
            count += 1
            if "torch" in sys.modules:
                sys.exit(module.name + " loads torch")
print(count)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > len(ROOMS)


@pytest.mark.parametrize(
    "name",
    [
        "analysis.results",
        "analysis.tables",
        "analysis.words",
        "cells",
        "errors",
        "gallery",
        "merging",
        "protocol_table",
        "report",
        "reproduction",
        "seeds",
        "side_by_side",
        "statistics",
        "threat_models",
        "verdicts",
    ],
)
def test_what_reads_reports_imports_without_torch(name: str) -> None:
    program = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import benchmark.{name}
sys.exit("torch" in sys.modules or "numpy" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_wheel_holds_every_file_of_the_rooms(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for room in ROOMS:
        shutil.copytree(ROOT / room, source / room, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", str(tmp_path), str(source)], check=True, timeout=500)

    (wheel,) = tmp_path.glob("*.whl")
    packed = {Path(name) for name in zipfile.ZipFile(wheel).namelist()}
    assert sorted(set(room_files()) - packed) == []
