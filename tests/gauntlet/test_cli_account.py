"""`gauntlet account`, and the link that `gauntlet serve` prints until there is an administrator."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from store.account_links import account_of_link, choose_password_by_link
from store.database import Database
from tests.gauntlet.test_cli_queue import environment, gauntlet, migrated
from tests.quick_passwords import quick_passwords

__all__ = ["quick_passwords"]


def secret_of(link: str) -> str:
    found = re.fullmatch(r"http://127\.0\.0\.1:\d+/welcome\?link=([\w-]{43})", link)
    assert found is not None, link
    return found.group(1)


@pytest.mark.slow
def test_an_operator_invites_trusts_and_shuts_out(tmp_path: Path) -> None:
    url = migrated(tmp_path)
    invited = gauntlet("account", "invite", "jane", "--role", "admin", "--json", url=url)
    assert (invited.returncode, invited.stderr) == (0, "")
    first = secret_of(json.loads(invited.stdout)["link"])
    second = gauntlet("account", "link", "jane", "--server", "http://127.0.0.1:81/", "--json", url=url)
    with closing(Database(url)) as db:
        assert account_of_link(db, secret_of(json.loads(second.stdout)["link"])).name == "jane"
    refused = gauntlet("account", "disable", "jane", "--json", url=url)
    assert (refused.returncode, json.loads(refused.stdout)["error"]["code"]) == (2, "conflict")
    assert first not in second.stdout
    gauntlet("account", "invite", "john", url=url)
    changed = gauntlet("account", "role", "john", "maintainer", url=url)
    assert changed.stdout == "account john is trusted as maintainer\n"
    gauntlet("account", "disable", "john", url=url)
    listed = json.loads(gauntlet("account", "list", "--json", url=url).stdout)
    assert [(one["name"], one["role"], one["disabled"]) for one in listed] == [
        ("jane", "admin", False),
        ("john", "maintainer", True),
    ]


def serve(url: str, var_dir: Path) -> tuple[dict[str, str], str]:
    """Start the service, read what it says first, stop it; return that and all that it has logged."""
    command = [sys.executable, "-m", "gauntlet", "serve", "--port", "0", "--json", "--log-level", "debug"]
    settings = {"GAUNTLET_VAR_DIR": str(var_dir), "GAUNTLET_EVALUATE_ZOO": "false", "GAUNTLET_WORKER_CHILDREN": "0"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(url, **settings)
    ) as process:
        assert process.stdout is not None
        said = ""
        while "}" not in said:
            line = process.stdout.readline()
            assert line
            said += line
        process.send_signal(signal.SIGTERM)
        _, logged = process.communicate(timeout=60)
    return json.loads(said), logged


@pytest.mark.slow
def test_the_service_prints_the_first_link_until_it_was_used(tmp_path: Path) -> None:
    url = migrated(tmp_path)
    said, logged = serve(url, tmp_path / "var")
    secret = secret_of(said["admin_link"])
    assert said["admin_link"].startswith(said["url"])
    assert secret not in logged
    with closing(Database(url)) as db:
        choose_password_by_link(db, secret, "the whale is white")
    assert set(serve(url, tmp_path / "var")[0]) == {"url"}
