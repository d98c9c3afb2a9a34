from __future__ import annotations

import re
import tomllib

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.house.layout import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
# Installed by version: the CPU build and the CUDA build of one version are different files.
BY_VERSION = {"torch", "torchvision"}


def wanted() -> list[Requirement]:
    lines = [*PROJECT["dependencies"], *(line for extra in PROJECT["optional-dependencies"].values() for line in extra)]
    return [Requirement(line) for line in lines]


def pinned() -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", LOCK, flags=re.MULTILINE))


def test_the_lock_pins_every_dependency_within_its_range() -> None:
    versions = pinned() | dict(re.findall(r"\b(torch|torchvision)==([\d.]+)", MAKEFILE))
    for requirement in wanted():
        version = versions[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement} is locked at {version}"


def test_every_pin_has_hashes() -> None:
    entries = [entry for entry in re.split(r"\n(?=\S)", LOCK.strip()) if entry]
    assert len(entries) == len(pinned())
    for entry in entries:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry.splitlines()[0]


def test_the_lock_is_the_same_on_every_machine() -> None:
    builds = [name for name in pinned() if name in BY_VERSION or name.startswith(("cuda", "nvidia", "triton"))]
    assert builds == []
    assert "://" not in LOCK
