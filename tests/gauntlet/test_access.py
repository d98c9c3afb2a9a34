"""The access log: every request by its template, never by what its client wrote."""

from __future__ import annotations

import logging
import socket

import pytest

from gauntlet.logs import FIELDS
from tests.running import Running, read_all
from tests.worker.work import wait_for


def fields(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, int]]:
    records = [getattr(record, FIELDS) for record in caplog.records if record.name == "gauntlet.access"]
    assert all(0 <= record["ms"] < 60_000 for record in records)
    return [(record["method"], record["route"], record["status"]) for record in records]


def test_every_request_is_logged_by_its_template(service: Running, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="gauntlet.access"):
        for path in (
            "/healthz",
            "/api/v1/submissions/secret-id",
            "/submissions/secret-id",
            "/api/v1/leaderboards/digits/Linf?search=secret-id",
            "/static/style.css",
            "/secret-id",
            "/api/v1/secret-id",
        ):
            service.http.get(path)
        service.http.head("/submissions/secret-id")
        service.http.delete("/api/v1/submissions")
        service.http.post("/api/v1/submissions", json={"name": "secret-id"})
        service.http.get("/healthz", headers={"Host": "secret-id.example"})
        service.http.request("SECRET-ID", "/")
        wait_for(lambda: len(fields(caplog)) == 12)
    # A line is written after its answer, so the next request's may come before it.
    assert sorted(fields(caplog)) == sorted(
        [
            ("GET", "/healthz", 200),
            ("GET", "/api/v1/submissions/{submission_id}", 404),
            ("GET", "/submissions/{submission_id}", 404),
            ("GET", "/api/v1/leaderboards/{dataset}/{threat_model}", 200),
            ("GET", "/static/{path}", 200),
            ("GET", "unmatched", 404),
            ("GET", "unmatched", 404),
            ("HEAD", "/submissions/{submission_id}", 404),
            ("DELETE", "/api/v1/submissions", 405),
            ("POST", "/api/v1/submissions", 422),
            ("GET", "unmatched", 421),
            ("OTHER", "/", 405),
        ]
    )
    assert "secret-id" not in caplog.text.lower()


def test_a_client_that_goes_away_is_logged(service: Running, caplog: pytest.LogCaptureFixture) -> None:
    head = f"PUT /api/v1/uploads/{'0' * 64} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf"
    with caplog.at_level(logging.INFO, logger="gauntlet.access"):
        with socket.create_connection(("127.0.0.1", service.port), timeout=5) as connection:
            connection.sendall(head.encode())
            connection.shutdown(socket.SHUT_WR)
            read_all(connection)
        # The server notices in its own time.
        wait_for(lambda: ("PUT", "/api/v1/uploads/{sha256}", 499) in fields(caplog))
