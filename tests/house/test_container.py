from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
import redis

from gauntlet.cli import app
from gauntlet.cli.health import Part
from gauntlet.settings import Settings, read_settings
from tests.house.layout import ROOMS, ROOT
from tests.servers import RedisServer

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
COMPOSE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
EMBEDDED = (ROOT / "docker-compose.embedded.yml").read_text(encoding="utf-8")
CI = ROOT / ".ci/run"
OURS = {"api", "worker-cpu", "worker-gpu", "sweeper"}


def section(text: str, name: str) -> str:
    """Return the lines below a top-level key."""
    found = re.search(rf"^{name}:[^\n]*\n((?:[ #][^\n]*\n|\n)*)", text, flags=re.MULTILINE)
    assert found, name
    return found[1]


def blocks(text: str) -> dict[str, str]:
    """Return the entries of a section by name, with what they merge from anchors."""
    anchors = dict(re.findall(r"^x-\w+: &(\w+)\n((?:  [^\n]*\n)+)", COMPOSE, flags=re.MULTILINE))

    def whole(block: str) -> str:
        return block + "".join(whole(anchors[name]) for name in re.findall(r"<<: \*(\w+)", block))

    parts = re.findall(r"^  ([a-z_-]+):\n((?:(?:    [^\n]*)?\n)*)", text, flags=re.MULTILINE)
    return {name: whole(block) for name, block in parts}


SERVICES = blocks(section(COMPOSE, "services"))
ALL = SERVICES | blocks(section(EMBEDDED, "services"))


def test_the_image_and_make_install_the_same_torch() -> None:
    pins = r"torch==[\d.]+ torchvision==[\d.]+"
    assert re.findall(pins, DOCKERFILE) == re.findall(pins, MAKEFILE) != []


def test_every_room_reaches_the_image() -> None:
    admitted = set(re.findall(r"^!(\w+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert set(ROOMS) <= admitted
    assert "secrets" not in admitted


def test_every_service_is_there() -> None:
    assert set(SERVICES) == OURS | {"postgres", "redis"}
    assert set(ALL) - set(SERVICES) == {"gauntlet"}


@pytest.mark.parametrize("name", ALL)
def test_every_container_is_confined(name: str) -> None:
    block = ALL[name]
    assert "read_only: true" in block
    assert re.search(r"cap_drop:\s+- ALL\n", block)
    assert re.search(r"security_opt:\s+- no-new-privileges:true\n", block)
    for needed in ("tmpfs", "mem_limit", "pids_limit", "stop_grace_period", "healthcheck", "restart", "max-size"):
        assert f"{needed}:" in block, needed
    assert re.search(r"^USER (?!root)", DOCKERFILE, flags=re.MULTILINE)
    assert ("build: ." in block) != bool(re.search(r"^    user: (?!root)\w+$", block, flags=re.MULTILINE))


@pytest.mark.parametrize("text", [COMPOSE, EMBEDDED], ids=["distributed", "embedded"])
def test_only_this_machine_reaches_the_one_port(text: str) -> None:
    assert re.findall(r'- "(\S+:\d+)"', text) == ["127.0.0.1:8000:8000"]
    assert text.count("ports:") == 1


def test_only_the_api_has_a_way_out() -> None:
    assert re.search(r"^  inside:\n    internal: true\n", section(COMPOSE, "networks"), flags=re.MULTILINE)
    assert [name for name, block in SERVICES.items() if "- outside" in block] == ["api"]
    assert all("- inside" in block for block in SERVICES.values())
    assert "ports:" in SERVICES["api"]


def test_no_secret_is_written_down() -> None:
    for text in (COMPOSE, EMBEDDED, DOCKERFILE):
        assert not re.search(r"(?i)(password|token|requirepass)\w*[:=] *[^ \n/]", text)
        assert not re.search(r"://[^\s/]*:[^\s/]*@", text)


@pytest.mark.parametrize("name", SERVICES)
def test_secrets_come_as_files_that_the_container_gets(name: str) -> None:
    block = SERVICES[name]
    used = set(re.findall(r"/run/secrets/(\w+)", block))
    given = set(
        re.findall(r"^      - (\w+)$", "\n".join(re.findall(r"secrets:\n((?: +- \w+\n)+)", block)), flags=re.MULTILINE)
    )
    given |= set(
        re.findall(r"^    - (\w+)$", "\n".join(re.findall(r"secrets:\n((?: +- \w+\n)+)", block)), flags=re.MULTILINE)
    )
    assert used
    assert used == given


def test_every_variable_is_a_setting_and_every_command_exists() -> None:
    settings = {f"GAUNTLET_{name.upper()}" for name in Settings.model_fields}
    texts = (COMPOSE, EMBEDDED, DOCKERFILE)
    named = {name.removesuffix("_FILE") for text in texts for name in re.findall(r"\b(GAUNTLET_\w+)[:=]", text)}
    assert named
    assert named <= settings
    commands = [
        re.findall(r'"([^"]*)"', found) for text in texts for found in re.findall(r'\["(?:CMD", ")?gauntlet.*\]', text)
    ]
    known = {command.name for command in app.registered_commands}
    for _, command, *arguments in [[part for part in parts if part != "CMD"] for parts in commands]:
        assert command in known
        assert command != "health" or arguments[0] in set(Part)
    assert {name: command[1] for name in OURS if (command := ours(name))} == {
        "api": "serve",
        "worker-cpu": "worker",
        "worker-gpu": "worker",
        "sweeper": "sweep",
    }


def ours(name: str) -> Sequence[str]:
    (command,) = re.findall(r"^    command: \[(.*)\]$", SERVICES[name], flags=re.MULTILINE)
    return re.findall(r'"([^"]*)"', command)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clean clone, as far as secrets are concerned."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    return tmp_path


def make_secrets(clone: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "secrets"], cwd=clone, capture_output=True, text=True, check=False, timeout=60, umask=0o002
    )


def contents(clone: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="ascii") for path in (clone / "secrets").iterdir()}


def test_the_secrets_are_made_once_and_fit_each_other(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    made = make_secrets(clone)
    assert made.returncode == 0, made.stderr
    secrets = contents(clone)
    declared = dict(
        re.findall(r"^  (\w+):\n    file: \./secrets/(\w+)$", section(COMPOSE, "secrets"), flags=re.MULTILINE)
    )
    assert set(secrets) == set(declared) == set(declared.values())
    assert stat.S_IMODE((clone / "secrets").stat().st_mode) == 0o700
    # Within a container they are read by another user, whom the directory does not keep out there.
    assert {stat.S_IMODE(path.stat().st_mode) for path in (clone / "secrets").iterdir()} == {0o644}
    assert not any(content in made.stdout + made.stderr for content in secrets.values())
    assert len(secrets["postgres_password"]) == 64
    assert f":{secrets['postgres_password']}@postgres/" in secrets["database_url"]
    assert f":{secrets['redis_password']}@redis:" in secrets["redis_url"]
    assert secrets["redis_conf"] == f"requirepass {secrets['redis_password']}\n"
    assert len({secrets[name] for name in ("postgres_password", "redis_password", "metrics_token")}) == 3

    assert make_secrets(clone).returncode == 0
    assert contents(clone) == secrets
    other = tmp_path_factory.mktemp("other")
    shutil.copy(ROOT / "Makefile", other)
    make_secrets(other)
    assert not set(contents(other).values()) & set(secrets.values())


def test_incomplete_secrets_are_told(clone: Path) -> None:
    """As where containers were started before there were any: a missing file then becomes a directory."""
    (clone / "secrets/database_url").mkdir(parents=True)
    made = make_secrets(clone)
    assert made.returncode != 0
    assert "./secrets lacks database_url" in made.stderr


def test_the_service_takes_the_secrets(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_secrets(clone)
    for name in ("database_url", "redis_url", "metrics_token"):
        monkeypatch.setenv(f"GAUNTLET_{name.upper()}_FILE", str(clone / "secrets" / name))
    settings, secrets = read_settings(), contents(clone)
    assert settings.database_url == secrets["database_url"]
    assert settings.secrets == {secrets[name] for name in ("postgres_password", "redis_password", "metrics_token")}


@pytest.mark.slow
def test_redis_lets_nobody_in_without_the_secret(clone: Path) -> None:
    make_secrets(clone)
    secrets = contents(clone)
    (options,) = re.findall(r'command: \["redis-server", (.*)\]', SERVICES["redis"])

    class Guarded(RedisServer):
        def command(self) -> Sequence[str | Path]:
            program, *changes = super().command()
            given = [part.replace("/run/secrets", str(clone / "secrets")) for part in re.findall(r'"([^"]*)"', options)]
            return [program, *given, *changes]

        def answers(self) -> bool:
            try:
                with redis.Redis(port=self.port, password=secrets["redis_password"]) as connection:
                    return bool(connection.ping())
            except redis.RedisError:
                return False

    with Guarded() as server, redis.Redis(port=server.port) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()


def test_ci_is_a_program_whose_stages_exist() -> None:
    script = CI.read_text(encoding="utf-8")
    assert os.access(CI, os.X_OK)
    assert subprocess.run(["bash", "-n", str(CI)], check=False, timeout=20).returncode == 0
    targets = set(" ".join(re.findall(r"^stage \S+ make (.+)$", script, flags=re.MULTILINE)).split())
    assert {"lint", "types", "contracts", "test", "test-all"} <= targets
    assert targets <= set(re.findall(r"^([a-z-]+):", MAKEFILE, flags=re.MULTILINE))
    assert "docker-compose.embedded.yml" in script
