"""Uploads: what is kept, and that nothing is kept of what is refused."""

from __future__ import annotations

import hashlib
import io
import os
import socket
import time
from typing import Any

import httpx
import numpy as np
import pytest

from tests.api.shape import assert_error
from tests.running import MAX_CHECKPOINT_BYTES, Running, read_all, safetensors

SOUND = safetensors()
SOUND_SHA256 = hashlib.sha256(SOUND).hexdigest()


def test_stores_a_file_once_under_its_hash(service: Running) -> None:
    first = service.put(SOUND)
    assert first.status_code == 201
    assert first.json() == {"sha256": SOUND_SHA256, "bytes": len(SOUND)}
    assert first.headers["location"] == f"/api/v1/uploads/{SOUND_SHA256}"
    assert service.services.blobs.read(SOUND_SHA256) == SOUND
    assert service.files() == [SOUND_SHA256]

    again = service.put(SOUND)
    assert again.status_code == 200
    assert again.json() == first.json()
    assert service.files() == [SOUND_SHA256]


def test_tells_whether_a_file_is_there(service: Running) -> None:
    address = f"/api/v1/uploads/{SOUND_SHA256}"
    assert_error(service.http.get(address), 404, "not_found", "sha256")
    service.put(SOUND)
    assert service.http.get(address).json() == {"sha256": SOUND_SHA256, "bytes": len(SOUND)}


def test_streams_a_body_of_unannounced_size(service: Running) -> None:
    pieces = (SOUND[i : i + 7] for i in range(0, len(SOUND), 7))
    response = service.http.put(f"/api/v1/uploads/{SOUND_SHA256}", content=pieces)
    assert response.status_code == 201
    assert service.services.blobs.read(SOUND_SHA256) == SOUND


def test_refuses_another_hash(service: Running) -> None:
    response = service.http.put(f"/api/v1/uploads/{'0' * 64}", content=SOUND)
    detail = assert_error(response, 422, "invalid_submission", "sha256")
    assert detail["found"] == SOUND_SHA256
    assert detail["expected"] == "0" * 64
    assert service.files() == []


def test_refuses_another_content_for_a_hash_that_is_there(service: Running) -> None:
    service.put(SOUND)
    response = service.http.put(f"/api/v1/uploads/{SOUND_SHA256}", content=safetensors(data=b"x" * 16))
    assert_error(response, 422, "invalid_submission", "sha256")
    assert service.services.blobs.read(SOUND_SHA256) == SOUND
    assert service.files() == [SOUND_SHA256]


@pytest.mark.parametrize("address", ["0" * 63, "0" * 65, "A" * 64, "%2e%2e%2f" + "0" * 55, "x"])
def test_refuses_what_is_no_hash(service: Running, address: str) -> None:
    response = service.http.put(f"/api/v1/uploads/{address}", content=SOUND)
    assert response.status_code in {404, 422}
    assert response.json()["error"]["code"] in {"invalid_input", "not_found"}
    assert service.files() == []


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "0 bytes"),
        (SOUND[:5], "5 bytes"),
        (SOUND[:40], "40 bytes"),
        (SOUND[:-1], ""),
        (SOUND + b"more", ""),
        (b"\xff" * 64, ""),
        ((12).to_bytes(8, "little") + b"not json at all", ""),
        (safetensors({}), "no tensors"),
        (safetensors({"w": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 16]}}), ""),
        (safetensors({"w": {"dtype": "object", "shape": [4], "data_offsets": [0, 16]}}), ""),
        (b"PK\x03\x04" + bytes(200), ""),
    ],
    ids=[
        "empty",
        "no-length",
        "cut-header",
        "cut-data",
        "too-long",
        "noise",
        "no-json",
        "none",
        "huge",
        "dtype",
        "zip",
    ],
)
def test_refuses_a_broken_file_and_says_what_was_found(service: Running, content: bytes, found: str) -> None:
    response = service.put(content)
    assert response.status_code == 422
    error = response.json()["error"]
    assert error["code"] == "invalid_checkpoint"
    assert all(error["detail"][part] for part in ("field", "found", "expected", "remedy"))
    assert found in error["detail"]["found"]
    assert service.files() == []


def npy(array: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def test_stores_examples_of_numpy(service: Running) -> None:
    content = npy(np.zeros((3, 1, 8, 8), np.float32))
    response = service.put(content)
    assert response.status_code == 201
    assert service.services.blobs.read(response.json()["sha256"]) == content


@pytest.mark.parametrize(
    ("content", "found", "remedy"),
    [
        (npy(np.zeros((3, 1, 8, 8), np.uint8)), "|u1", "255"),
        (npy(np.array([{}], object)), "|O", "pickles"),
        (npy(np.zeros((3, 64), np.float32)), "[3, 64]", "channels first"),
        (npy(np.zeros((3, 1, 8, 8), np.float32))[:-1], "767 bytes", "again"),
    ],
    ids=["integers", "objects", "rows", "cut"],
)
def test_refuses_broken_examples_and_keeps_nothing(service: Running, content: bytes, found: str, remedy: str) -> None:
    response = service.put(content)
    assert response.status_code == 422
    error = response.json()["error"]
    assert error["code"] == "invalid_examples"
    assert found in error["detail"]["found"]
    assert remedy in error["detail"]["remedy"]
    assert service.files() == []


def test_examples_are_no_checkpoint_to_submit(service: Running) -> None:
    sha256 = service.put(npy(np.zeros((3, 1, 8, 8), np.float32))).json()["sha256"]
    fields = {"name": "A", "dataset": "digits", "threat_model": "Linf", "architecture": "digits_cnn"}
    response = service.http.post("/api/v1/submissions", json={**fields, "checkpoint_sha256": sha256})
    assert response.status_code == 422
    assert response.json()["error"]["code"] == "invalid_checkpoint"


def test_refuses_an_announced_size_above_the_limit_without_waiting_for_the_body(service: Running) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=5) as connection:
        connection.sendall(
            f"PUT /api/v1/uploads/{SOUND_SHA256} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
            f"Content-Length: {MAX_CHECKPOINT_BYTES + 1}\r\n\r\n".encode()
        )
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"code":"too_large"' in answer
    assert service.files() == []


def test_refuses_a_file_above_the_limit(service: Running) -> None:
    content = os.urandom(MAX_CHECKPOINT_BYTES + 1)
    detail = assert_error(service.put(content), 413, "too_large", "body")
    assert str(MAX_CHECKPOINT_BYTES) in detail["expected"]
    assert service.files() == []


def test_refuses_a_file_that_grows_above_the_limit_unannounced(service: Running) -> None:
    pieces = (os.urandom(50_000) for _ in range(8))
    response = service.http.put(f"/api/v1/uploads/{SOUND_SHA256}", content=pieces)
    assert_error(response, 413, "too_large", "body")
    assert service.files() == []


def test_keeps_nothing_of_an_upload_that_breaks_off(service: Running) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=5) as connection:
        connection.sendall(
            f"PUT /api/v1/uploads/{SOUND_SHA256} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5000\r\n\r\n".encode()
        )
        connection.sendall(SOUND)
        wait_until(lambda: len(service.files()) == 1)
    wait_until(lambda: service.files() == [])
    assert service.put(SOUND).status_code == 201


def test_a_body_longer_than_announced_is_cut_where_it_was_announced(service: Running) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=5) as connection:
        connection.sendall(
            f"PUT /api/v1/uploads/{SOUND_SHA256} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
            f"Content-Length: {len(SOUND) - 1}\r\n\r\n".encode()
            + SOUND
        )
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 422 ")
    assert service.files() == []


def test_two_uploads_of_one_file_at_once_leave_one_file(service: Running) -> None:
    sockets = [socket.create_connection(("127.0.0.1", service.port), timeout=5) for _ in range(2)]
    head = (
        f"PUT /api/v1/uploads/{SOUND_SHA256} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        f"Content-Length: {len(SOUND)}\r\n\r\n"
    ).encode()
    for connection in sockets:
        connection.sendall(head + SOUND[:20])
    for connection in sockets:
        connection.sendall(SOUND[20:])
    for connection in sockets:
        assert read_all(connection).split(b" ")[1] in {b"200", b"201"}
        connection.close()
    assert service.files() == [SOUND_SHA256]


def test_a_full_disk_is_the_services_fault(service: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.services.blobs, "free_floor_bytes", 1 << 60)
    response = service.put(SOUND)
    assert_error(response, 507, "storage_full")
    assert service.files() == []


def test_other_methods_are_named(service: Running) -> None:
    response: httpx.Response = service.http.post(f"/api/v1/uploads/{SOUND_SHA256}")
    detail = assert_error(response, 405, "method_not_allowed", "method")
    assert set(response.headers["allow"].replace(" ", "").split(",")) <= {"GET", "PUT", "HEAD"}
    assert detail["found"] == "POST"


def wait_until(holds: object, seconds: float = 5) -> None:
    """Wait for a condition; fail where it does not come true in time."""
    assert callable(holds)
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "the condition did not come true"
        time.sleep(0.01)
