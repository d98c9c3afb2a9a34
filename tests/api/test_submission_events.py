"""A submission's changes as a stream, and its log, over HTTP."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from api.events import Streams
from store.accounts import NewAccount, register
from store.claims import fail_attempt
from store.errors import QueueFull
from store.sign_in import begin_session
from store.submissions import cancel
from store.tables import SubmissionRow
from tests.api.shape import assert_error
from tests.running import Running
from tests.store.material import must_claim
from tests.web.material import publish, take_in


def events(response: httpx.Response) -> Iterator[tuple[str, dict[str, object]]]:
    """Read the id and the content of each event."""
    event_id = ""
    for line in response.iter_lines():
        if line.startswith("id: "):
            event_id = line.removeprefix("id: ")
        if line.startswith("data: "):
            yield event_id, json.loads(line.removeprefix("data: "))


def test_every_change_is_told_until_the_end(service: Running) -> None:
    view = take_in(service.services, "Watched")
    address = f"/api/v1/submissions/{view.id}/events"
    threading.Timer(1.5, lambda: cancel(service.services.db, view.id)).start()
    with service.http.stream("GET", address) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert "content-encoding" not in response.headers
        told = list(events(response))
    assert [content["state"] for _, content in told] == ["received", "cancelled"]
    assert told[-1][1] == service.http.get(f"/api/v1/submissions/{view.id}").json()
    with service.http.stream("GET", address, headers={"Last-Event-ID": told[-1][0]}) as response:
        assert list(events(response)) == []
    with service.http.stream("GET", address, headers={"Last-Event-ID": told[0][0]}) as response:
        assert [content["state"] for _, content in events(response)] == ["cancelled"]


def test_what_is_published_is_told_once(service: Running) -> None:
    publish(service.services, "Done")
    submission_id = service.http.get("/api/v1/submissions").json()["submissions"][0]["id"]
    with service.http.stream("GET", f"/api/v1/submissions/{submission_id}/events") as response:
        assert [content["state"] for _, content in events(response)] == ["published"]


def test_there_is_no_stream_of_what_is_not_there(service: Running) -> None:
    assert_error(service.http.get("/api/v1/submissions/nothing/events"), 404, "not_found", "submission")
    assert_error(service.http.get("/api/v1/submissions/nothing/log"), 404, "not_found", "submission")


def test_streams_are_counted_and_let_go(service: Running) -> None:
    view = take_in(service.services, "Watched")
    address = f"/api/v1/submissions/{view.id}/events"
    streams = service.app.state.streams
    with service.http.stream("GET", address) as response:
        heard = events(response)
        next(heard)
        assert streams._open.total() == 1
    deadline = time.monotonic() + 10
    while streams._open.total() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert streams._open.total() == 0
    service.app.state.streams = Streams(most_each=0)
    assert_error(service.http.get(address), 503, "queue_full")


def test_nobody_takes_all_streams() -> None:
    streams = Streams(most=3, most_each=2)
    with streams.counted("a"), streams.counted("a"):
        with pytest.raises(QueueFull), streams.counted("a"):
            pass
        with streams.counted("b"), pytest.raises(QueueFull), streams.counted("c"):
            pass
    with streams.counted("a"):
        assert streams._open.total() == 1
    assert streams._open.total() == 0


def test_streams_asked_for_at_once_are_counted(service: Running) -> None:
    view = take_in(service.services, "Watched")
    request = f"GET /api/v1/submissions/{view.id}/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    with ExitStack() as stack:
        connections = [
            stack.enter_context(socket.create_connection(("127.0.0.1", service.port), timeout=10)) for _ in range(20)
        ]
        for connection in connections:
            connection.sendall(request)
        answers = [connection.recv(65536).splitlines()[0] for connection in connections]
        assert sorted(b" 200 " in answer for answer in answers) == [False] * 12 + [True] * 8
        assert service.app.state.streams._open.total() == 8


def test_asking_for_the_headers_opens_no_stream(service: Running) -> None:
    view = take_in(service.services, "Watched")
    response = service.http.head(f"/api/v1/submissions/{view.id}/events")
    assert (response.status_code, response.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    deadline = time.monotonic() + 1
    while service.app.state.streams._open.total() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert service.app.state.streams._open.total() == 0


def test_streams_end_with_the_service(service: Running) -> None:
    view = take_in(service.services, "Watched")
    with service.http.stream("GET", f"/api/v1/submissions/{view.id}/events") as response:
        heard = response.iter_lines()
        next(heard)
        service.app.state.streams.close()
        assert [line for line in heard if line.startswith("id: ")] == []


def test_the_log_tells_what_happened_without_paths(service: Running) -> None:
    view = take_in(service.services, "Logged")
    db = service.services.db
    fail_attempt(db, must_claim(db), "it broke\nat /srv/gauntlet/var/scratch/7/model.pt2: \x1b[31mno", "service")
    lines = service.http.get(f"/api/v1/submissions/{view.id}/log").json()["lines"]
    assert [line["text"] for line in lines] == [
        "received",
        "checking",
        "attempt 1 at the check came to nothing and is made again: it broke at …: [31mno",
        "the check waits, attempt 1",
    ]
    text = service.http.get(f"/api/v1/submissions/{view.id}/log", headers={"Accept": "text/plain"})
    assert text.headers["content-type"].startswith("text/plain")
    assert [line[21:].strip() for line in text.text.splitlines()] == [line["text"] for line in lines]


def test_another_persons_log_does_not_exist(service: Running) -> None:
    """Not even once the submission itself is public."""
    publish(service.services, "Owned")
    db = service.services.db
    owner, other = (
        register(db, NewAccount(name=name, password="correct horse battery")) for name in ("owner", "other")
    )
    with db.transaction() as session:
        submission = session.query(SubmissionRow).one()
        submission.owner_id = owner.id
        submission_id = submission.id
    address = f"/api/v1/submissions/{submission_id}"
    statuses = {}
    for account in (owner, other):
        cookie = {"Cookie": f"gauntlet_session={begin_session(db, account.id)}"}
        statuses[account.name] = [
            service.http.get(f"{address}{end}", headers=cookie).status_code for end in ("", "/log")
        ]
    assert statuses == {"owner": [200, 200], "other": [200, 404]}
