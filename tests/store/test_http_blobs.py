"""What is particular to a service: its token goes to it and to nobody else, and its errors are understood."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydantic import SecretStr

from benchmark.errors import InvalidInput
from store.errors import StorageFull, StorageUnavailable
from store.http_blobs import HttpRemote
from store.remote_blobs import Refused, RemoteBlobs
from tests.running import Running, service
from tests.store.opening import TOKEN, remote_blobs

__all__ = ["service"]

SHA256 = hashlib.sha256(b"content").hexdigest()


@dataclass
class Recorder:
    """A server of somebody else.

    Args:
        url: its address.
        status: status of every answer.
        headers: headers of every answer.
        seen: the requests, with their headers.
    """

    url: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Length": "0"})
    seen: list[str] = field(default_factory=list)


@contextmanager
def recording() -> Iterator[Recorder]:
    recorder = Recorder()

    class Handler(http.server.BaseHTTPRequestHandler):
        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline(65_536)
            if not self.raw_requestline or not self.parse_request():
                self.close_connection = True
                return
            recorder.seen.append(f"{self.requestline}\n{self.headers}")
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response_only(recorder.status)
            for name, value in recorder.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.close_connection = True

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    recorder.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield recorder
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def opened(url: str, path: Path, token: str = TOKEN) -> Iterator[RemoteBlobs]:
    blobs = remote_blobs(HttpRemote(url, SecretStr(token)), path / "cache")
    try:
        yield blobs
    finally:
        blobs.close()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(tmp_path: Path, status: int) -> None:
    with recording() as elsewhere, recording() as here, opened(here.url, tmp_path) as blobs:
        here.status, here.headers = status, {"Location": f"{elsewhere.url}/internal/v1/blobs/{SHA256}"}
        for ask in (blobs.exists, blobs.path):
            with pytest.raises(StorageUnavailable):
                ask(SHA256)
        with pytest.raises(StorageUnavailable):
            blobs.put(b"content")
        assert len(here.seen) == 3
        assert elsewhere.seen == []


def test_no_proxy_is_given_the_token(blob_service: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with recording() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        with opened(blob_service.url, tmp_path) as blobs:
            assert blobs.read(blobs.put(b"content")) == b"content"
        assert proxy.seen == []


def test_a_service_without_the_setting_is_no_empty_store(service: Running, tmp_path: Path) -> None:
    """Else workers would take every file for lost."""
    with opened(service.url, tmp_path) as blobs:
        with pytest.raises(InvalidInput, match="worker_token"):
            blobs.require_access()
        for ask in (blobs.exists, blobs.size, blobs.path):
            with pytest.raises(StorageUnavailable):
                ask(SHA256)


def test_a_full_disk_of_the_service_is_told_as_such(
    blob_service: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blob_service.services.blobs, "free_floor_bytes", 1 << 60)
    with opened(blob_service.url, tmp_path) as blobs:
        with pytest.raises(StorageFull):
            blobs.put(b"content")
        assert not blobs.exists(SHA256)
    assert blob_service.files() == []


@pytest.mark.parametrize(
    "headers", [{"Connection": "close"}, {"Content-Length": "-1"}, {"Content-Length": "9" * 4_000}]
)
def test_an_answer_without_a_length_is_refused(tmp_path: Path, headers: dict[str, str]) -> None:
    with recording() as here, opened(here.url, tmp_path) as blobs:
        here.headers = headers
        with pytest.raises(StorageUnavailable):
            blobs.size(SHA256)


@pytest.mark.parametrize("token", [f"{TOKEN}\r\nX-Injected: yes", f"{TOKEN}\n", "\x00" * 40])
def test_a_token_that_is_no_header_reaches_nobody(tmp_path: Path, token: str, caplog: pytest.LogCaptureFixture) -> None:
    """The settings refuse such tokens; should one come here, it is not even quoted."""
    with recording() as here, opened(here.url, tmp_path, token) as blobs:
        with pytest.raises(StorageUnavailable):
            blobs.size(SHA256)
        assert here.seen == []
    assert "X-Injected" not in caplog.text
    assert TOKEN not in caplog.text


def test_who_answers_otherwise_is_no_service(tmp_path: Path) -> None:
    with recording() as here:
        remote = HttpRemote(here.url, SecretStr(TOKEN))
        for status in (402, 403, 404, 418):
            here.status = status
            with pytest.raises(Refused, match=str(status)):
                remote.size(SHA256)
        remote.close()
