"""What every request passes and every answer bears."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from gauntlet.settings import Settings
from tests.api.shape import assert_error
from tests.running import Running, quiet_settings, read_all, running

CANCEL = "/api/v1/submissions/0/cancel"
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
}


@pytest.mark.parametrize("path", ["/healthz", "/api/v1/leaderboards", "/api/v1/nothing", "/nothing"])
def test_every_answer_bears_the_headers(service: Running, path: str) -> None:
    headers = service.http.get(path).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy == POLICY
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert "strict-transport-security" not in headers  # would lock people out of plain HTTP on this machine


def test_refusals_bear_them_too(service: Running) -> None:
    for response in (
        service.http.get("/healthz", headers={"Host": "evil.example"}),
        service.http.post(CANCEL, headers={"Origin": "https://evil.example"}),
        service.http.post("/api/v1/submissions", content=b"x" * 70_000),
    ):
        assert response.status_code in {403, 413, 421}
        assert response.headers["x-content-type-options"] == "nosniff"
        assert "content-security-policy" in response.headers


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "[::2]", "[::1].evil", ""]
)
def test_other_names_are_refused(service: Running, host: str) -> None:
    response = service.http.get("/healthz", headers={"Host": host})
    assert_error(response, 421, "misdirected_request", "Host")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST:1", "[::1]:8000"])
def test_its_own_names_are_served(service: Running, host: str) -> None:
    assert service.http.get("/healthz", headers={"Host": host}).status_code == 200


def test_names_can_be_added(tmp_path: Path) -> None:
    settings = quiet_settings(tmp_path / "var")
    named = Settings.model_validate({**settings.model_dump(), "allowed_hosts": ("gauntlet.example",)})
    with running(named) as service:
        assert service.http.get("/healthz", headers={"Host": "gauntlet.example"}).status_code == 200
        assert service.http.get("/healthz", headers={"Host": "127.0.0.1"}).status_code == 421


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://["},
    ],
)
def test_pages_of_other_sites_change_nothing(service: Running, headers: dict[str, str]) -> None:
    assert_error(service.http.post(CANCEL, headers=headers), 403, "cross_site_request", "Origin")
    put = service.http.put(f"/api/v1/uploads/{'0' * 64}", content=b"x", headers=headers)
    assert_error(put, 403, "cross_site_request", "Origin")
    assert service.http.get("/api/v1/leaderboards", headers=headers).status_code == 200


def test_its_own_pages_and_programs_may(service: Running) -> None:
    for headers in (
        {},
        {"Sec-Fetch-Site": "same-origin", "Origin": service.url},
        {"Sec-Fetch-Site": "none"},
        {"Origin": service.url},
    ):
        assert_error(service.http.post(CANCEL, headers=headers), 404, "not_found", "submission")


def test_an_absurd_announced_size_is_refused(service: Running) -> None:
    for size in ("9" * 18, "9" * 19):
        with socket.create_connection(("127.0.0.1", service.port), timeout=5) as connection:
            head = f"POST {CANCEL} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n"
            connection.sendall(head.encode())
            answer = read_all(connection)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"999999999999999999 bytes" in answer


def test_large_answers_are_compressed_for_those_who_ask(service: Running) -> None:
    address = "/api/v1/leaderboards/cifar10/Linf"
    compressed = service.http.get(address, headers={"Accept-Encoding": "gzip"})
    assert compressed.headers["content-encoding"] == "gzip"
    plain = service.http.get(address, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert compressed.json() == plain.json()


@pytest.mark.parametrize("path", ["/", "/healthz", "/api/v1/leaderboards", "/static/style.css", "/nothing"])
def test_head_answers_as_get_does_without_the_body(service: Running, path: str) -> None:
    whole, head = service.http.get(path), service.http.head(path)
    assert head.status_code == whole.status_code
    assert head.headers["content-type"] == whole.headers["content-type"]
    assert head.content == b""
