"""Files for workers: for those with the token and nobody else."""

from __future__ import annotations

import hashlib
import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from benchmark.errors import InvalidInput
from gauntlet.app import create_app
from tests.api.shape import assert_error
from tests.api.test_uploads import wait_until
from tests.running import Running, quiet_settings, read_all, running
from tests.store.opening import TOKEN
from tests.store.places import service_for_workers
from worker.handover import MAX_FILE_BYTES

CONTENT = hashlib.shake_256(b"content").digest(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
ADDRESS = f"/internal/v1/blobs/{SHA256}"
WORKER = {"Authorization": f"Bearer {TOKEN}"}
NO_HASHES = [
    "../../../etc/passwd",
    "..%2f..%2f..%2fetc%2fpasswd",
    "%2e%2e/%2e%2e/gauntlet.sqlite",
    "sha256/../../gauntlet.sqlite",
    f"{SHA256}/../../../../gauntlet.sqlite",
    f"{SHA256}%00",
    f"{SHA256}%0d%0aX-Injected:%20yes",
    f"{SHA256}%0a",
    "A" * 64,
    SHA256[:-1],
    "",
]
STRANGERS = [
    None,
    "",
    "Bearer",
    TOKEN,
    f"Basic {TOKEN}",
    f"Bearer {TOKEN[:-1]}",
    f"Bearer {TOKEN}x",
    f"Bearer  {TOKEN}",
    f"Bearer {TOKEN.swapcase()}",
    f"Bearer {'0' * len(TOKEN)}",
    "Bearer \xfc\xdf",
    "Bearer None",
    "Bearer **********",
]


@pytest.fixture
def files(prepared: Path, tmp_path: Path) -> Iterator[Running]:
    """A service that offers its files to workers."""
    with service_for_workers(prepared, tmp_path) as service:
        yield service


def test_a_worker_stores_a_file_and_reads_it(files: Running) -> None:
    assert_error(files.http.get(ADDRESS, headers=WORKER), 404, "not_found", "sha256")
    first = files.http.put(ADDRESS, content=CONTENT, headers=WORKER)
    assert (first.status_code, first.json()) == (201, {"sha256": SHA256, "bytes": len(CONTENT)})
    again = files.http.put(ADDRESS, content=CONTENT, headers=WORKER)
    assert (again.status_code, again.json()) == (200, first.json())
    answer = files.http.get(ADDRESS, headers=WORKER)
    assert answer.content == CONTENT
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert files.files() == [SHA256]


def test_a_file_need_be_no_checkpoint_and_may_be_larger_than_one(files: Running) -> None:
    assert len(CONTENT) > files.services.max_checkpoint_bytes
    assert files.http.put(ADDRESS, content=CONTENT, headers=WORKER).status_code == 201


def test_its_size_is_told_without_its_content(files: Running) -> None:
    answer = files.http.head(ADDRESS, headers=WORKER)
    assert (answer.status_code, answer.content) == (404, b"")
    files.services.blobs.put(CONTENT)
    answer = files.http.head(ADDRESS, headers=WORKER)
    assert (answer.status_code, answer.headers["content-length"]) == (200, str(len(CONTENT)))
    assert answer.content == b""


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST", "DELETE"])
def test_without_the_setting_there_are_no_such_addresses(service: Running, method: str) -> None:
    content = b"x" * 100_000 if method == "PUT" else None
    answer = service.http.request(method, ADDRESS, headers=WORKER, content=content)
    assert answer.status_code == 404
    if method != "HEAD":
        assert_error(answer, 404, "not_found", "address")
    assert service.files() == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
def test_nobody_else_reads_or_writes(files: Running, method: str) -> None:
    files.services.blobs.put(b"kept")
    before = files.files()
    content = CONTENT if method == "PUT" else None
    for given in STRANGERS:
        headers = {} if given is None else {"Authorization": given.encode("latin-1")}
        answer = files.http.request(method, ADDRESS, headers=headers, content=content)  # type: ignore[arg-type]
        assert answer.status_code == 401, given
        assert answer.headers["www-authenticate"] == "Bearer"
        assert TOKEN not in answer.text
        if method != "HEAD":
            assert_error(answer, 401, "unauthorized", "Authorization")
    assert files.files() == before


def test_of_two_tokens_the_wrong_one_does_not_pass(files: Running) -> None:
    pair = [("Authorization", "Bearer wrong"), ("Authorization", f"Bearer {TOKEN}")]
    assert files.http.get(ADDRESS, headers=pair).status_code == 401


def test_a_stranger_is_refused_before_sending_anything(files: Running) -> None:
    with socket.create_connection(("127.0.0.1", files.port), timeout=30) as connection:
        head = f"PUT {ADDRESS} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(65_536).startswith(b"HTTP/1.1 401 ")
    assert files.files() == []


def test_a_stranger_does_not_learn_what_is_there(files: Running) -> None:
    there = files.services.blobs.put(CONTENT)
    answers = [files.http.get(f"/internal/v1/blobs/{name}") for name in (there, "0" * 64, "x")]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.text for answer in answers}) == 1


def test_another_content_is_refused(files: Running) -> None:
    answer = files.http.put(ADDRESS, content=b"other", headers=WORKER)
    detail = assert_error(answer, 422, "invalid_submission", "sha256")
    assert detail["found"] == hashlib.sha256(b"other").hexdigest()
    assert files.files() == []
    files.services.blobs.put(CONTENT)
    assert files.http.put(ADDRESS, content=b"other", headers=WORKER).status_code == 422
    assert files.services.blobs.read(SHA256) == CONTENT


def test_a_body_that_breaks_off_leaves_nothing(files: Running) -> None:
    head = f"PUT {ADDRESS} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n"
    with socket.create_connection(("127.0.0.1", files.port), timeout=30) as connection:
        connection.sendall(f"{head}Content-Length: {len(CONTENT)}\r\n\r\n".encode() + CONTENT[:-1])
        wait_until(lambda: len(files.files()) == 1)
    wait_until(lambda: files.files() == [])
    with socket.create_connection(("127.0.0.1", files.port), timeout=30) as connection:
        connection.sendall(
            f"{head}Connection: close\r\nContent-Length: {len(CONTENT) - 1}\r\n\r\n".encode() + CONTENT[:-1]
        )
        assert read_all(connection).startswith(b"HTTP/1.1 422 ")
    assert files.files() == []


def test_a_file_above_the_limit_of_workers_is_refused_when_it_is_announced(files: Running) -> None:
    with socket.create_connection(("127.0.0.1", files.port), timeout=30) as connection:
        connection.sendall(
            f"PUT {ADDRESS} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nAuthorization: Bearer {TOKEN}\r\n"
            f"Content-Length: {MAX_FILE_BYTES + 1}\r\n\r\n".encode()
        )
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert str(MAX_FILE_BYTES).encode() in answer
    assert files.files() == []


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_what_is_no_hash_leads_nowhere(files: Running, method: str) -> None:
    """By a bare socket, for a client would tidy the address up."""
    files.services.blobs.put(CONTENT)
    for name in NO_HASHES:
        with socket.create_connection(("127.0.0.1", files.port), timeout=30) as connection:
            connection.sendall(
                f"{method} /internal/v1/blobs/{name} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
                f"Authorization: Bearer {TOKEN}\r\nContent-Length: 0\r\n\r\n".encode()
            )
            head, _, body = read_all(connection).partition(b"\r\n\r\n")
        assert head.split(b" ")[1] in {b"404", b"405", b"422"}, name
        assert b"x-injected" not in head.lower()
        assert b'"error"' in body
    assert files.files() == [SHA256]


def test_the_addresses_of_workers_are_not_in_the_document(files: Running) -> None:
    assert "internal" not in files.http.get("/api/v1/openapi.json").text


def test_the_token_is_logged_nowhere(files: Running, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        files.http.put(ADDRESS, content=CONTENT, headers=WORKER)
        files.http.get(ADDRESS, headers=WORKER)
        files.http.get(ADDRESS, headers={"Authorization": f"Bearer {TOKEN}{TOKEN}"})
        files.http.put(ADDRESS, content=b"other", headers=WORKER)
    assert caplog.records
    assert TOKEN not in f"{caplog.text} {[vars(record) for record in caplog.records]}"


def test_a_failure_inside_does_not_tell_the_token(
    files: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def explode(_sha256: str) -> None:
        raise RuntimeError("inside")

    monkeypatch.setattr(files.services.blobs, "path", explode)
    answer = files.http.get(ADDRESS, headers=WORKER)
    assert_error(answer, 500, "internal_error")
    assert "inside" in caplog.text
    assert TOKEN not in caplog.text + answer.text


def test_the_file_of_a_reader_who_goes_away_is_kept(files: Running) -> None:
    files.services.blobs.put(CONTENT)
    with httpx.Client(base_url=files.url, headers=WORKER) as http, http.stream("GET", ADDRESS) as answer:
        next(answer.iter_raw(1_000))
    assert files.http.get(ADDRESS, headers=WORKER).content == CONTENT


def test_a_service_does_not_ask_itself_for_its_files(tmp_path: Path) -> None:
    settings = quiet_settings(tmp_path / "var").model_copy(
        update={"blobs_url": "http://127.0.0.1:8000", "worker_token": SecretStr(TOKEN)}
    )
    with pytest.raises(InvalidInput, match="blobs_url"):
        create_app(settings)


def test_two_services_share_a_directory(prepared: Path, tmp_path: Path) -> None:
    """As two web processes do; the second names the directory by its address."""
    with service_for_workers(prepared, tmp_path) as first:
        settings = quiet_settings(tmp_path / "other").model_copy(
            update={"blobs_url": (tmp_path / "var/blobs").as_uri(), "worker_token": SecretStr(TOKEN)}
        )
        with running(settings) as second:
            assert first.http.put(ADDRESS, content=CONTENT, headers=WORKER).status_code == 201
            assert second.http.get(ADDRESS, headers=WORKER).content == CONTENT
