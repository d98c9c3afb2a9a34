"""The client with an account's token, over connections that break, and the commands around it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from benchmark.errors import InvalidInput
from gauntlet.cli.console import ExitCode
from gauntlet.client import Client, RefusedByService
from gauntlet.tokens import VARIABLE
from store.accounts import NewAccount, get_account, register
from store.actors import Actor, Role, Scope
from store.sign_in import create_token
from store.tables import SubmissionRow
from store.views import State
from tests.gauntlet.inside import Command, command
from tests.running import Running, safetensors
from tests.store.deciders import evaluate, person, send
from tests.web.material import publish, take_in


@contextmanager
def breaking_proxy(port: int, after: int, times: int) -> Iterator[int]:
    """Pass connections on to a port, but break the first few of them off once so many bytes were sent."""
    listener = socket.create_server(("127.0.0.1", 0))
    left = [times]

    def pump(source: socket.socket, target: socket.socket, limit: int | None) -> None:
        done = 0
        try:
            while data := source.recv(4096):
                target.sendall(data)
                done += len(data)
                if limit is not None and done > limit:
                    left[0] -= 1
                    break
        except OSError:
            pass
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", port))
            limit = after if left[0] > 0 else None
            threading.Thread(target=pump, args=(client, server, limit), daemon=True).start()
            threading.Thread(target=pump, args=(server, client, None), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        listener.close()


def test_an_upload_goes_on_after_broken_connections(
    service: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gauntlet.client.FIRST_PAUSE_S", 0.05)
    content = safetensors({"weight": {"dtype": "F32", "shape": [60_000], "data_offsets": [0, 240_000]}}, bytes(240_000))
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    done: list[int] = []
    said: list[str] = []
    with breaking_proxy(service.port, after=90_000, times=2) as port, Client(f"http://127.0.0.1:{port}") as client:
        uploaded = client.upload(path, lambda sent, _total: done.append(sent), said.append)
    assert service.services.blobs.read(uploaded.sha256) == content
    assert done[-1] == len(content)
    assert len(said) >= 2
    assert all(" Going on with the upload in " in sentence for sentence in said)


def a_token(service: Running, name: str = "jane", scopes: frozenset[Scope] = frozenset({Scope.READ})) -> str:
    db = service.services.db
    account = register(db, NewAccount(name=name, password="correct horse battery"))
    who = Actor(account_id=account.id, name=name, role=Role.SUBMITTER)
    assert get_account(db, who).name == name
    return create_token(db, who, "laptop", scopes)[1]


def test_a_token_is_shown_and_told_to_nobody(service: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    token = a_token(service)
    monkeypatch.setenv(VARIABLE, token)
    with Client(service.url) as client:
        client.list_submissions()
        assert token not in repr(client) + repr(vars(client))
    monkeypatch.setenv(VARIABLE, token[:-1] + ("0" if token[-1] != "0" else "1"))
    with Client(service.url) as client, pytest.raises(RefusedByService) as caught:
        client.list_submissions()
    assert (caught.value.service_code, caught.value.status) == ("unauthorized", 401)
    with pytest.raises(InvalidInput) as refused:
        Client(service.url, token="gnt_ two words")
    assert "two words" not in str(refused.value)


@pytest.mark.timeout(30)
def test_a_watch_ends_where_only_a_maintainer_can_go_on(service: Running) -> None:
    submission_id = send(service.services, person(service.services.db, "jane"), approval=True)
    assert evaluate(service.services) is State.EVALUATED
    with service.services.db.transaction() as session:
        session.get_one(SubmissionRow, submission_id).owner_id = None  # so that anybody may watch it
    with Client(service.url) as client:
        assert [view.rests for view in client.watch(submission_id)] == [True]


@pytest.fixture
def gauntlet(capsys: pytest.CaptureFixture[str]) -> Command:
    return command(capsys)


def test_a_report_is_shown_and_written(service: Running, gauntlet: Command, tmp_path: Path) -> None:
    publish(service.services, "A")
    written = tmp_path / "report.json"
    found = gauntlet("report", "digits/Linf", "A", "--server", service.url, "--output", str(written))
    assert found.code == ExitCode.OK
    assert "apgd-ce" in found.out
    assert written.read_bytes() == service.http.get("/api/v1/models/digits/Linf/A/report").content
    as_json = gauntlet("report", "digits/Linf", "A", "--server", service.url, "--json")
    assert as_json.json["n_points"] == 500
    assert gauntlet("report", "digits", "A", "--server", service.url).code == ExitCode.INVALID
    assert gauntlet("report", "digits/Linf", "B", "--server", service.url).code == ExitCode.INVALID


def test_a_log_is_shown(service: Running, gauntlet: Command) -> None:
    view = take_in(service.services, "A")
    assert gauntlet("log", view.id, "--server", service.url).out.splitlines()[0].endswith("Z  received")
    assert gauntlet("log", view.id, "--server", service.url, "--json").json[0]["text"] == "received"


def test_without_a_keyring_nothing_is_forgotten(service: Running, gauntlet: Command) -> None:
    assert gauntlet("logout", "--server", service.url, "--json").json == {"server": service.url, "forgotten": False}
