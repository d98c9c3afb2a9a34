from __future__ import annotations

import os
import re
import subprocess

from tests.house.layout import ROOMS, ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
COMPOSE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
CI = ROOT / ".ci/run"


def test_the_image_and_make_install_the_same_torch() -> None:
    pins = r"torch==[\d.]+ torchvision==[\d.]+"
    assert re.findall(pins, DOCKERFILE) == re.findall(pins, MAKEFILE) != []


def test_every_room_reaches_the_image() -> None:
    admitted = set(re.findall(r"^!(\w+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert set(ROOMS) <= admitted


def test_the_container_is_confined() -> None:
    assert re.search(r"^USER (?!root)", DOCKERFILE, flags=re.MULTILINE)
    assert re.search(r"read_only: true", COMPOSE)
    ports = re.findall(r'- "(\S+:\d+)"', COMPOSE)
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_ci_is_a_program_whose_stages_exist() -> None:
    script = CI.read_text(encoding="utf-8")
    assert os.access(CI, os.X_OK)
    assert subprocess.run(["bash", "-n", str(CI)], check=False, timeout=20).returncode == 0
    stages = re.findall(r"^stage (\S+) make (\S+)$", script, flags=re.MULTILINE)
    assert {"lint", "types", "contracts", "test", "test-all"} <= {stage for stage, _ in stages}
    assert {target for _, target in stages} <= set(re.findall(r"^([a-z-]+):", MAKEFILE, flags=re.MULTILINE))
