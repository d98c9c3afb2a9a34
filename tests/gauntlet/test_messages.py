"""Messages leave both engines by themselves: the embedded service, and the sweeper of the distributed one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.errors import InvalidInput
from gauntlet.settings import Settings, read_settings
from store.database import Database
from store.notices import Event, tell
from tests.running import quiet_settings, running
from tests.store.people import person
from tests.worker.receivers import Mailbox, mail_server

SENDER = "gauntlet@example.org"


def say(db: Database) -> None:
    jane = person(db, "jane", email="jane@example.org")
    with db.transaction() as session:
        tell(session, jane.account_id, Event.CLAIM_ANSWERED, "Your claim was accepted.", "/claims")


def wait_for_mail(box: Mailbox, alive: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not box.mails:
        assert alive()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_embedded_service_sends(prepared: Path, tmp_path: Path) -> None:
    shutil.copytree(prepared, tmp_path / "var")
    with mail_server() as box:
        changes = {
            "worker_children": 1,
            "smtp_url": f"smtp://127.0.0.1:{box.port}",
            "mail_from": SENDER,
            "public_url": "https://gauntlet.example/",
        }
        settings = Settings.model_validate(quiet_settings(tmp_path / "var").model_dump() | changes)
        with running(settings) as service:
            say(service.services.db)
            wait_for_mail(box, lambda: True)
    (mail,) = box.mails
    assert mail[:2] == (SENDER, ["jane@example.org"])
    assert b"\r\nhttps://gauntlet.example/claims\r\n" in mail[2]


@pytest.mark.slow
def test_the_sweeper_sends(prepared: Path, tmp_path: Path) -> None:
    shutil.copytree(prepared, tmp_path / "var")
    with mail_server() as box:
        environment = {
            **os.environ,
            "GAUNTLET_VAR_DIR": str(tmp_path / "var"),
            "GAUNTLET_SMTP_URL": f"smtp://127.0.0.1:{box.port}",
            "GAUNTLET_MAIL_FROM": SENDER,
        }
        db = Database(quiet_settings(tmp_path / "var").database_address)
        say(db)
        db.close()
        command = [sys.executable, "-W", "error", "-m", "gauntlet", "sweep", "--json"]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as sweeper:
            try:
                wait_for_mail(box, lambda: sweeper.poll() is None)
                sweeper.terminate()
                said, _ = sweeper.communicate(timeout=30)
            finally:
                sweeper.kill()
    assert sweeper.returncode == 0
    assert set(json.loads(said)) == {"sweeper"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("smtp_url", "http://user:hunter2@mail.example.org"),
        ("smtp_url", "smtp://user:hunter2@mail.example.org/path"),
        ("smtp_url", "smtp://user:hunter2@mail.example.org"),
        ("mail_from", "Gauntlet <gauntlet@example.org>"),
        ("mail_from", "a@example.org\nBcc: b@example.org"),
        ("webhooks", "maybe"),
        ("public_url", "gauntlet.example"),
        ("public_url", "https://gauntlet.example/?a=1"),
        ("unverified_days", "0"),
    ],
)
def test_impossible_settings_are_refused_without_the_password(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """A mail server alone is impossible too: mail must come from somebody."""
    monkeypatch.setenv(f"GAUNTLET_{name.upper()}", value)
    with pytest.raises(InvalidInput) as caught:
        read_settings()
    assert "hunter2" not in str(caught.value.as_json())


def test_the_password_of_the_mail_server_is_a_secret() -> None:
    settings = Settings(smtp_url="smtp://user:hunter2%40@mail.example.org", mail_from=SENDER)
    assert {"hunter2%40", "hunter2@"} <= settings.secrets
