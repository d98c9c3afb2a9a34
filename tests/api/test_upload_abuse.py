"""Uploads by people who mean harm: slow, silent, strangely cut, many at once, and onto a disk that is full."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import numpy as np
import pytest

import gauntlet.guards
from tests.api.test_uploads import npy, wait_until
from tests.running import Running, quiet_settings, read_all, running, safetensors
from tests.web.material import take_in

SOUND = safetensors()
SHA256 = hashlib.sha256(SOUND).hexdigest()


def head(*headers: str, sha256: str = SHA256) -> bytes:
    lines = [f"PUT /api/v1/uploads/{sha256} HTTP/1.1", "Host: 127.0.0.1", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


def connected(service: Running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), timeout=10)


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


@pytest.mark.slow
def test_many_slow_uploads_keep_nobody_from_anything(service: Running) -> None:
    """More of them than threads and database connections, each with a part of its body."""
    with ExitStack() as stack:
        slow = [stack.enter_context(connected(service)) for _ in range(150)]
        for connection in slow:
            connection.sendall(head(f"Content-Length: {len(SOUND)}") + SOUND[:10])
        wait_until(lambda: len(service.files()) == len(slow), 20)
        began = time.monotonic()
        assert service.http.get("/api/v1/leaderboards").status_code == 200
        other = npy(np.zeros((2, 1, 8, 8), np.float32))
        assert service.put(other).status_code == 201
        assert time.monotonic() - began < 3
        for connection in slow[:75]:
            connection.sendall(SOUND[10:])
        assert {status(connection.recv(4096)) for connection in slow[:75]} <= {200, 201}
    wait_until(lambda: sorted(service.files()) == sorted([SHA256, hashlib.sha256(other).hexdigest()]), 20)


@pytest.fixture
def impatient(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """A service that waits half a second for the next byte of a body."""
    monkeypatch.setattr(gauntlet.guards.BodyLimit.__init__, "__defaults__", (0.5,))
    shutil.copytree(prepared, tmp_path / "var")
    with running(quiet_settings(tmp_path / "var")) as service:
        yield service


@pytest.mark.slow
def test_a_body_of_which_nothing_more_comes_is_given_up(impatient: Running) -> None:
    requests = {
        "upload": head(f"Content-Length: {len(SOUND)}") + SOUND[:10],
        "chunked": head("Transfer-Encoding: chunked") + b"a\r\n" + SOUND[:10] + b"\r\n",
        "nothing at all": head(f"Content-Length: {len(SOUND)}"),
        "json": b"POST /api/v1/submissions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n"
        b"Content-Type: application/json\r\n\r\n{",
        "form": b"POST /sign-in HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\n\r\nname=",
        "file": b"POST /submit HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99\r\n"
        b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n",
    }
    with ExitStack() as stack:
        connections = {name: stack.enter_context(connected(impatient)) for name in requests}
        for name, connection in connections.items():
            connection.sendall(requests[name])
        for name, connection in connections.items():
            answer = read_all(connection)  # to its end: the connection is closed too
            assert status(answer) == 408, (name, answer)
            assert b"no byte for 0.5 seconds" in answer.replace(b"&#39;", b"'"), name
    assert impatient.files() == []


def test_a_slow_body_is_not_given_up_while_it_comes(impatient: Running) -> None:
    def pieces() -> Iterator[bytes]:
        for start in range(0, len(SOUND), 40):
            yield SOUND[start : start + 40]
            time.sleep(0.3)

    assert len(SOUND) > 80
    assert impatient.http.put(f"/api/v1/uploads/{SHA256}", content=pieces()).status_code == 201


@pytest.mark.slow
def test_a_stream_is_not_given_up_for_its_silence(impatient: Running) -> None:
    view = take_in(impatient.services, "Watched")
    with impatient.http.stream("GET", f"/api/v1/submissions/{view.id}/events", timeout=3) as response:
        lines = response.iter_lines()
        assert next(lines).startswith("id: ")
        time.sleep(1.2)
        assert impatient.app.state.streams._open.total() == 1
        assert impatient.http.post(f"/api/v1/submissions/{view.id}/cancel").status_code == 200
        assert '"state":"cancelled"' in "".join(lines)


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    return b"".join(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n" for chunk in chunks) + end


@pytest.mark.parametrize(
    ("body", "statuses"),
    [
        (chunked(SOUND, end=b"0\r\nX-Trailer: 1\r\nContent-Length: 5\r\nAuthorization: Bearer x\r\n\r\n"), {201}),
        (chunked(*(SOUND[i : i + 1] for i in range(len(SOUND)))), {201}),
        (b"%x;name=value\r\n%b\r\n0\r\n\r\n" % (len(SOUND), SOUND), {201}),
        (b"F" * 21 + b"\r\n" + SOUND, {400}),
        (b"-1\r\n" + SOUND, {400}),
        (b"1g\r\n" + SOUND, {400}),
        (b"\xd9\xa3\r\n" + SOUND, {400}),
        (b"5" * 100_000, {400}),
        (chunked(SOUND, end=b"0\r\nX: " + b"x" * 200_000 + b"\r\n\r\n"), {400}),
        (b"%x\r\n%bXX0\r\n\r\n" % (len(SOUND), SOUND), {400}),
        (chunked(SOUND[:-1]), {422}),
        (chunked(SOUND, b"x"), {422}),
        (chunked(), {422}),
    ],
    ids=[
        "trailers", "single bytes", "an extension", "a huge chunk", "a negative one", "no number", "digits of others",
        "an endless number", "a huge trailer", "no end of a chunk", "too short", "too long", "nothing",
    ],
)  # fmt: skip
def test_chunks_are_read_to_the_letter(service: Running, body: bytes, statuses: set[int]) -> None:
    with connected(service) as connection:
        connection.sendall(head("Transfer-Encoding: chunked", "Connection: close") + body)
        try:
            answer = read_all(connection)
        except ConnectionResetError:  # as it is closed without having read all
            answer = b"HTTP/1.1 400 Bad Request"
    assert status(answer) in statuses, answer[:300]
    wait_until(lambda: service.files() == ([SHA256] if statuses == {201} else []))
    assert service.http.get("/healthz").status_code == 200


@pytest.mark.slow
def test_many_at_once_are_stored_each_whole(service: Running) -> None:
    contents = [npy(np.full((3, 1, 8, 8), number / 40, np.float32)) for number in range(40)]
    answers: list[int] = []

    def send(content: bytes) -> None:
        answers.append(
            httpx.put(
                f"{service.url}/api/v1/uploads/{hashlib.sha256(content).hexdigest()}", content=content, timeout=30
            ).status_code
        )

    threads = [threading.Thread(target=send, args=(content,)) for content in contents * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(answers) <= {200, 201}
    assert len(answers) == 80
    assert service.files() == sorted(hashlib.sha256(content).hexdigest() for content in contents)
    for content in contents:
        assert service.services.blobs.read(hashlib.sha256(content).hexdigest()) == content


FULL_DISK = """
import hashlib, json, sys
from pathlib import Path
import numpy as np
from tests.api.test_uploads import npy
from tests.running import quiet_settings, running
found = []
with running(quiet_settings(Path(sys.argv[1]) / "var")) as service:
    service.services.blobs.free_floor_bytes = 0
    service.app.state.parts._free_floor_bytes = 0
    for number in range(60):
        content = npy(np.random.default_rng(number).random((900, 1, 8, 8), np.float32))
        if number % 2:
            answer = service.put(content)
        else:
            sha256, last = hashlib.sha256(content).hexdigest(), len(content) - 1
            range_ = {"Content-Range": f"bytes 0-{last}/{len(content)}"}
            answer = service.http.put(f"/api/v1/uploads/{sha256}", content=content, headers=range_)
        found.append([answer.status_code, answer.text, service.http.get("/healthz").status_code])
    jane = {"name": "jane", "password": "a whale is no fish", "again": "a whale is no fish"}
    page = service.http.post("/register", data=jane)
    boards = service.http.get("/api/v1/leaderboards").status_code
    left = [name for name in service.files() if len(name) != 64]
    for path in service.blobs.rglob("*"):
        if path.is_file():
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name, path
            path.unlink()
    after = service.put(content).status_code
print(json.dumps({"found": found, "left": left, "boards": boards, "page": page.status_code, "after": after}))
"""


@pytest.mark.slow
def test_a_disk_that_is_really_full_is_told_and_left_tidy(tmp_path: Path) -> None:
    """Whatever else fills it up, past the space that the service would leave: not even the database can write."""
    mounted = tmp_path / "small"
    mounted.mkdir()
    mount = 'mount -t tmpfs -o size=8m none "$1" && exec "$2" -c "$3" "$1"'
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", mount, "sh", mounted, sys.executable, FULL_DISK],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    if "unshare failed" in done.stderr or "mount: " in done.stderr:
        pytest.skip("this machine lets nobody mount a small disk")
    assert done.returncode == 0, done.stderr[-3_000:]
    told = json.loads(done.stdout)
    odd = [answer for answer in told["found"] if answer[0] not in {201, 507}]
    assert odd == []
    assert {status for status, _, _ in told["found"]} == {201, 507}
    assert all(
        json.loads(text)["error"]["code"] == "storage_full" for status, text, _ in told["found"] if status == 507
    )
    assert {alive for *_, alive in told["found"]} == {200}
    assert told["left"] == []
    assert told["boards"] == 200
    assert told["page"] in {303, 503}
    assert told["after"] == 201
