"""Uploads in several goes: each goes on where the last one ended, whatever ended it, and nobody else's is touched."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from api.parts import MOST_EACH, STALE_S
from gauntlet.client import Client
from store.accounts import NewAccount, register
from store.blobs import LocalBlobs
from store.rates import Counted, Uncounted
from store.sign_in import begin_session
from tests.api.shape import assert_error
from tests.running import MAX_CHECKPOINT_BYTES, Running, quiet_settings, read_all, running, safetensors

SOUND = safetensors()
SHA256 = hashlib.sha256(SOUND).hexdigest()
ADDRESS = f"/api/v1/uploads/{SHA256}"


def send(service: Running, first: int, end: int, **headers: str) -> httpx.Response:
    part = {"Content-Range": f"bytes {first}-{end - 1}/{len(SOUND)}"}
    return service.http.put(ADDRESS, content=SOUND[first:end], headers=part | headers)


@contextmanager
def begun(service: Running, sha256: str, content: bytes) -> Iterator[socket.socket]:
    """Send the beginning of a file, and leave the connection open."""
    head = f"PUT /api/v1/uploads/{sha256} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(SOUND)}\r\n"
    head += f"Content-Range: bytes 0-{len(SOUND) - 1}/{len(SOUND)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection:
        connection.sendall(head.encode() + content)
        yield connection


def received(service: Running, **headers: str) -> int:
    return int(service.http.get(f"{ADDRESS}/part", headers=headers).json()["received"])


def test_a_file_comes_in_several_goes(service: Running) -> None:
    assert received(service) == 0
    first = send(service, 0, 10)
    assert (first.status_code, first.json()) == (202, {"sha256": SHA256, "received": 10})
    assert service.files() == []
    assert received(service) == 10
    assert send(service, 10, 11).json()["received"] == 11
    last = send(service, 11, len(SOUND))
    assert (last.status_code, last.json()) == (201, {"sha256": SHA256, "bytes": len(SOUND)})
    assert service.services.blobs.read(SHA256) == SOUND
    assert received(service) == 0


def test_what_arrived_before_a_connection_broke_stays(service: Running) -> None:
    head = f"PUT {ADDRESS} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(SOUND)}\r\n"
    head += f"Content-Range: bytes 0-{len(SOUND) - 1}/{len(SOUND)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", service.port)) as connection:
        connection.sendall(head.encode() + SOUND[:30])
        time.sleep(0.3)
    deadline = time.monotonic() + 10
    while received(service) < 30 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert received(service) == 30
    assert send(service, 30, len(SOUND)).status_code == 201


def test_it_goes_on_only_where_it_ended(service: Running) -> None:
    send(service, 0, 10)
    for first in (0, 9, 11):
        detail = assert_error(send(service, first, 20), 409, "conflict", "Content-Range")
        assert detail["expected"] == "bytes from 10 on"
    assert received(service) == 10


@pytest.mark.parametrize(
    ("text", "status", "code"),
    [
        ("bytes 0-9", 422, "invalid_input"),
        ("bytes */20", 409, "conflict"),
        ("bytes */0", 422, "invalid_input"),
        ("bytes 00-9/20", 422, "invalid_input"),
        ("bytes 9-0/20", 422, "invalid_input"),
        ("bytes 0-20/20", 422, "invalid_input"),
        ("bytes 0-٩/20", 422, "invalid_input"),
        (f"bytes 0-9/{MAX_CHECKPOINT_BYTES + 1}", 413, "too_large"),
        (f"bytes 0-9/{'9' * 40}", 422, "invalid_input"),
    ],
)
def test_other_ranges_are_refused(service: Running, text: str, status: int, code: str) -> None:
    response = service.http.put(ADDRESS, content=SOUND[:10], headers=[(b"Content-Range", text.encode())])
    assert_error(response, status, code, "Content-Range")
    assert received(service) == 0


def test_more_bytes_than_were_said_are_refused(service: Running) -> None:
    headers = {"Content-Range": f"bytes 0-4/{len(SOUND)}"}
    assert_error(service.http.put(ADDRESS, content=SOUND[:30], headers=headers), 422, "invalid_input", "body")


def test_nothing_is_kept_of_another_content(service: Running) -> None:
    wrong = b"x" + SOUND[1:]
    headers = {"Content-Range": f"bytes 0-{len(wrong) - 1}/{len(wrong)}"}
    response = service.http.put(ADDRESS, content=wrong, headers=headers)
    assert_error(response, 422, "invalid_submission", "sha256")
    assert (service.files(), received(service)) == ([], 0)
    assert send(service, 0, len(SOUND)).status_code == 201


def test_what_the_service_could_not_store_need_not_be_sent_again(service: Running, tmp_path: Path) -> None:
    blobs = service.services.blobs
    assert isinstance(blobs, LocalBlobs)
    floor, blobs.free_floor_bytes = blobs.free_floor_bytes, 2**62
    assert_error(send(service, 0, len(SOUND)), 507, "storage_full")
    assert received(service) == len(SOUND)
    blobs.free_floor_bytes = floor
    path = tmp_path / "model.safetensors"
    path.write_bytes(SOUND)
    sent: list[int] = []
    with Client(service.url) as client:
        client.upload(path, lambda done, _total: sent.append(done))
    assert sent == [len(SOUND)]
    assert service.services.blobs.read(SHA256) == SOUND
    assert received(service) == 0


def test_a_restart_loses_nothing(prepared: Path, tmp_path: Path) -> None:
    shutil.copytree(prepared, tmp_path / "var")
    with running(quiet_settings(tmp_path / "var")) as service:
        send(service, 0, 10)
    with running(quiet_settings(tmp_path / "var")) as service:
        assert received(service) == 10
        assert send(service, 10, len(SOUND)).status_code == 201


def test_a_silent_connection_is_over_after_a_while(service: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.parts.IDLE_S", 0.3)
    with begun(service, SHA256, SOUND[:30]) as connection:
        assert b" 422 " in connection.recv(65536).splitlines()[0]
        assert received(service) == 30
        assert send(service, 30, len(SOUND)).status_code == 201


def test_what_begins_at_once_is_counted(service: Running) -> None:
    with ExitStack() as stack:
        for number in range(20):
            stack.enter_context(begun(service, hashlib.sha256(bytes([number])).hexdigest(), b"x"))
        time.sleep(1)
        assert len(list((service.blobs.parent / "parts").glob("*/*"))) == MOST_EACH


def test_an_upload_that_nothing_came_of_takes_no_place(service: Running) -> None:
    for number in range(6):
        sha256 = hashlib.sha256(bytes([number])).hexdigest()
        headers = {"Content-Range": "bytes 0-0/9"}
        assert service.http.put(f"/api/v1/uploads/{sha256}", content=b"", headers=headers).status_code == 202


def test_each_file_counts_once_towards_its_senders_rate(service: Running) -> None:
    counted: list[str] = []

    class Rates(Uncounted):
        def spend(self, what: Counted, *whose: str) -> None:
            counted.extend(whose)

    service.app.state.services = replace(service.services, rates=Rates())
    for first, end in ((0, 10), (10, len(SOUND))):
        send(service, first, end)
    assert counted == ["127.0.0.1", ""]


def test_two_at_once_do_not_mix(service: Running) -> None:
    head = f"PUT {ADDRESS} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(SOUND)}\r\nConnection: close\r\n"
    head += f"Content-Range: bytes 0-{len(SOUND) - 1}/{len(SOUND)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", service.port)) as connection:
        connection.sendall(head.encode() + SOUND[:30])
        time.sleep(0.3)
        assert_error(send(service, 0, 10), 409, "conflict", "sha256")
        connection.sendall(SOUND[30:])
        assert b" 201 " in read_all(connection).splitlines()[0]
    assert service.services.blobs.read(SHA256) == SOUND


def test_an_unfinished_upload_is_its_senders_alone(service: Running) -> None:
    db = service.services.db
    account = register(db, NewAccount(name="jane", password="correct horse battery"))
    own = {"Cookie": f"gauntlet_session={begin_session(db, account.id)}"}
    send(service, 0, 10)
    assert received(service, **own) == 0
    assert_error(send(service, 10, 20, **own), 409, "conflict", "Content-Range")
    assert send(service, 0, len(SOUND), **own).status_code == 201
    assert received(service) == 10


def test_a_sender_has_few_and_old_ones_are_forgotten(service: Running) -> None:
    def begin(number: int) -> httpx.Response:
        sha256 = hashlib.sha256(bytes([number])).hexdigest()
        return service.http.put(f"/api/v1/uploads/{sha256}", content=b"x", headers={"Content-Range": "bytes 0-0/9"})

    assert [begin(number).status_code for number in range(5)] == [202] * 4 + [503]
    parts = sorted((service.blobs.parent / "parts").glob("*/*"))
    os.utime(parts[0], (0, time.time() - STALE_S - 60))
    service.app.state.parts.forget_stale()
    assert not parts[0].exists()
    assert begin(5).status_code == 202
