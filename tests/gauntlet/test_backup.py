"""Backup and restore as people use them: of a service that runs, into another that then serves the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gauntlet.cli.console import ExitCode
from tests.running import Running, quiet_settings, running
from tests.servers import Databases
from tests.store.material import must_claim, published
from tests.store.material import running as queued

ROOT = Path(__file__).parents[2]


def gauntlet(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "gauntlet", *arguments]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", **environment}
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=environment)


@pytest.mark.slow
@pytest.mark.parametrize("into", ["sqlite", "postgresql"])
def test_a_restored_service_serves_what_the_other_did(
    service: Running, tmp_path: Path, postgres_databases: Databases, into: str
) -> None:
    db, blobs = service.services.db, service.services.blobs
    published(db, blobs)
    queued(db, blobs, "Method B")
    must_claim(db)
    file, home = tmp_path / "backup.tar", tmp_path / "other"
    saved = gauntlet("backup", str(file), "--var-dir", str(service.blobs.parent), "--json")
    assert (saved.returncode, saved.stderr) == (0, "")
    content = json.loads(saved.stdout)
    assert content["lost"] == []
    assert content["rows"]["submission"] == 2
    assert content["bytes"] == file.stat().st_size

    with postgres_databases.database() as url:
        environment = {"GAUNTLET_DATABASE_URL": url} if into == "postgresql" else {}
        restored = gauntlet("restore", str(file), "--var-dir", str(home), **environment)
        assert (restored.returncode, restored.stderr) == (0, "")
        assert restored.stdout.startswith(f"Restored 2 submissions, 237 entries and {content['files']} files; ")
        settings = quiet_settings(home).model_copy(update={"database_url": environment.get("GAUNTLET_DATABASE_URL")})
        with running(settings) as other:
            for address in (
                "leaderboards/digits/Linf",
                "leaderboards/cifar10/L2",
                "models/digits/Linf/Method A/report",
            ):
                answers = [one.http.get(f"/api/v1/{address}") for one in (service, other)]
                assert [answer.status_code for answer in answers] == [200, 200]
                assert answers[0].content == answers[1].content
            before, after = (one.http.get("/api/v1/submissions").json()["submissions"] for one in (service, other))
        assert [view["id"] for view in after] == [view["id"] for view in before]
        again = gauntlet("restore", str(file), "--var-dir", str(home), "--json", **environment)
    assert again.returncode == ExitCode.INVALID
    assert json.loads(again.stdout)["error"]["code"] == "conflict"


def test_lost_files_are_told_and_make_the_command_fail(service: Running, tmp_path: Path) -> None:
    published(service.services.db, service.services.blobs)
    lost = service.files()[0]
    service.services.blobs.path(lost).unlink()
    saved = gauntlet("backup", str(tmp_path / "backup.tar"), "--var-dir", str(service.blobs.parent))
    assert saved.returncode == ExitCode.FAILED
    assert f"Lost: the file {lost} was gone or damaged" in saved.stdout
    assert (tmp_path / "backup.tar").exists()


def test_a_service_that_is_not_there_is_neither_saved_nor_made(tmp_path: Path) -> None:
    found = gauntlet("backup", str(tmp_path / "backup.tar"), "--var-dir", str(tmp_path / "nothing"))
    assert found.returncode == ExitCode.INVALID
    assert "no database at" in found.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_database_that_does_not_answer_is_told_in_one_line(tmp_path: Path) -> None:
    address = "postgresql+psycopg://u:open-sesame@127.0.0.1:1/x"
    for command in (("backup", str(tmp_path / "new.tar")), ("restore", __file__)):
        found = gauntlet(*command, GAUNTLET_DATABASE_URL=address, GAUNTLET_VAR_DIR=str(tmp_path / "var"))
        assert found.returncode == ExitCode.INVALID
        (line,) = found.stderr.splitlines()
        assert "sesame" not in line
    assert not (tmp_path / "new.tar").exists()
