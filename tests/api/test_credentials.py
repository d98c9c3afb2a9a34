"""Showing who one is by tricks: doubled and broken headers, smuggled requests, secrets in addresses, guesses, time."""

from __future__ import annotations

import base64
import json
import logging
import re
import shutil
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from store.account_links import choose_password_by_link
from store.actors import Role, Scope
from store.administration import invite, set_account
from store.sign_in import begin_session, create_token, sign_in, who_has_session
from tests.api.callers import COOKIE, PASSWORD, Caller, Person, a_person, hashed_quickly
from tests.running import Running, quiet_settings, running

ACCOUNT = "/api/v1/account"


@pytest.fixture(scope="module")
def shared(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service for all tests that do not mind each other."""
    var_dir = tmp_path_factory.mktemp("credentials") / "var"
    shutil.copytree(prepared, var_dir)
    with hashed_quickly(), running(quiet_settings(var_dir).model_copy(update={"rate_limits": "off"})) as service:
        yield service


@pytest.fixture
def person(shared: Running) -> Person:
    """Somebody who is signed in with a browser."""
    return a_person(shared.services.db, Caller.OWNER)


def session_of(person: Person) -> str:
    return person.headers["Cookie"].partition("=")[2]


def token_of(service: Running, person: Person) -> str:
    who = who_has_session(service.services.db, session_of(person))
    assert who is not None
    return create_token(service.services.db, who, "test", [Scope.READ, Scope.SUBMIT])[1]


def asked_raw(service: Running, text: bytes) -> bytes:
    """Send bytes as they are, and return everything that is answered until nothing more comes for a while."""
    answer = b""
    connect = socket.create_connection(("127.0.0.1", service.port), timeout=0.5)
    with connect as connection, suppress(TimeoutError, ConnectionError):
        connection.sendall(text)
        while received := connection.recv(65536):
            answer += received
    return answer


def request(path: str, *headers: bytes, method: str = "GET", body: bytes = b"") -> bytes:
    lines = [f"{method} {path} HTTP/1.1".encode(), b"Host: 127.0.0.1", b"Connection: close", *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def statuses(answer: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


def test_of_two_tokens_none_is_taken(shared: Running, person: Person) -> None:
    """A proxy in front may look at the other of them."""
    good = f"Authorization: Bearer {token_of(shared, person)}".encode()
    assert statuses(asked_raw(shared, request(ACCOUNT, good))) == [200]
    for other in (b"Authorization: Bearer none", b"Authorization: Basic eDp5", b"authorization:", good):
        for pair in ((good, other), (other, good)):
            assert statuses(asked_raw(shared, request(ACCOUNT, *pair))) == [401], pair


def test_of_two_sessions_none_is_taken(shared: Running, person: Person) -> None:
    """Another application on this machine may have set the second, with a longer path, which browsers send first."""
    with hashed_quickly():
        other = a_person(shared.services.db, Caller.OTHER)
    mine, theirs = session_of(person), session_of(other)
    for cookies in (
        f"{COOKIE}={mine}; {COOKIE}={theirs}",
        f"{COOKIE}={theirs}; {COOKIE}={mine}",
        f"{COOKIE}={mine}; {COOKIE}=",
        f'{COOKIE}="{mine}"; {COOKIE}={theirs}',
    ):
        answer = shared.http.get(ACCOUNT, headers={"Cookie": cookies})
        assert answer.status_code == 401, cookies
    assert shared.http.get(ACCOUNT, headers={"Cookie": f"other=1; {COOKIE}={mine}; more=2"}).status_code == 200
    pair = (f"Cookie: {COOKIE}={theirs}".encode(), f"Cookie: {COOKIE}={mine}".encode())
    assert statuses(asked_raw(shared, request(ACCOUNT, *pair))) == [401]


@pytest.mark.parametrize(
    "kind",
    [
        "{0}",
        "Token {0}",
        "Basic {0}",
        "Bearer",
        "Bearer {0} {0}",
        "Bearer {0},Bearer {0}",
        'Bearer "{0}"',
        "Bearer={0}",
    ],
)
def test_a_token_counts_in_one_form_alone(shared: Running, person: Person, kind: str) -> None:
    token = token_of(shared, person)
    answer = shared.http.get(ACCOUNT, headers={"Authorization": kind.format(token)})
    assert answer.status_code == 401
    assert token not in answer.text


def test_a_token_counts_in_no_other_place_and_is_never_logged(
    shared: Running, person: Person, caplog: pytest.LogCaptureFixture
) -> None:
    token, session = token_of(shared, person), session_of(person)
    caplog.set_level(logging.DEBUG)
    basic = base64.b64encode(f"{token}:{token}".encode()).decode()
    answers = [
        *(
            shared.http.get(ACCOUNT, params={name: secret})
            for name in ("token", "access_token", "api_key", "Authorization", "authorization", COOKIE, "session")
            for secret in (token, session)
        ),
        shared.http.post(f"{ACCOUNT}/tokens", json={"name": "x"}, params={"access_token": token}),
        shared.http.get(ACCOUNT, headers={"X-Api-Key": token, "X-Authorization": f"Bearer {token}", "Token": token}),
        shared.http.get(ACCOUNT, headers={"Cookie": f"token={token}; {COOKIE}={token}; gauntlet={session}"}),
        shared.http.get(ACCOUNT, headers={"Authorization": f"Basic {basic}"}),
        shared.http.get(ACCOUNT, headers={"Authorization": f"Bearer {session}"}),
    ]
    assert {answer.status_code for answer in answers} == {401}
    assert all(token not in answer.text and session not in answer.text for answer in answers)
    shared.http.get(f"/api/v1/{token}")
    shared.http.get(f"/submissions/{token}?token={token}")
    shared.http.get(ACCOUNT, headers={"Authorization": f"Bearer {token}"})
    # But for those of the client, and of the server's own log, which `gauntlet serve` does without.
    records = [record for record in caplog.records if not record.name.startswith(("http", "uvicorn.access"))]
    written = "\n".join(f"{record.getMessage()} {record.__dict__}" for record in records)
    assert f"GET {ACCOUNT} 401" in written
    assert token not in written
    assert session not in written


@pytest.mark.parametrize(
    "header",
    [
        b"Authorization: Bearer gnt_\x00",
        b"Authorization: Bearer gnt_\xd9\xa3\xd9\xa3",
        b"Authorization: Bearer gnt_" + "٣".encode() * 72,
        b"Authorization: Bearer gnt_" + b"\xb2" * 72,
        b"Authorization: Bearer gnt_" + b"F" * 64 + b"00000000",
        b"Authorization: Bearer gnt_" + b"0" * 60_000,
        b"Authorization: " + b"Bearer " * 9_000,
        b"Cookie: gauntlet_session=\x00",
        b"Cookie: gauntlet_session=" + b"a" * 60_000,
        b"Cookie: " + b"gauntlet_session=a; " * 3_000,
        b"Cookie: " + b";" * 60_000,
        b"Cookie: gauntlet_session=\xff\xfe\xed\xa0\x80",
        b"Cookie: gauntlet_session",
        b"X: " + b"x" * 1_000_000,
        b"Authorization : Bearer x",
        b" Authorization: Bearer x",
        b"Authorization: a\r\n Bearer x",
        b"\x00: x",
        b"\xc3\xa9: x",
    ],
)
def test_no_header_brings_the_service_down(shared: Running, header: bytes) -> None:
    began = time.monotonic()
    answer = asked_raw(shared, request(ACCOUNT, header))
    assert not statuses(answer) or statuses(answer)[0] in {400, 401, 431}, answer[:200]
    assert time.monotonic() - began < 5
    assert shared.http.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        (b"Content-Length: 4", b"Transfer-Encoding: chunked"),
        (b"Transfer-Encoding: chunked", b"Content-Length: 0"),
        (b"Content-Length: 0", b"Content-Length: 44"),
        (b"Content-Length: 0, 44",),
        (b"Content-Length: +44",),
        (b"Content-Length: 0x2c",),
        (b"Content-Length: -1",),
        ("Content-Length: ٤٤".encode(),),
        (b"Content-Length: \xb2\xb2",),
        (b"Content-Length: 4_4",),
        (b"Transfer-Encoding: xchunked",),
        (b"Transfer-Encoding: chunked, identity",),
        (b"Transfer-Encoding: identity, chunked",),
        (b"Transfer-Encoding:\x0bchunked",),
        (b"Transfer-Encoding : chunked",),
        (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
    ],
)
def test_no_request_is_smuggled_behind_another(shared: Running, person: Person, headers: tuple[bytes, ...]) -> None:
    """Whoever disagrees with a proxy about where a request ends takes the rest of it for somebody else's."""
    cookie = f"Cookie: {person.headers['Cookie']}".encode()
    inner = b"\r\n".join([b"POST /account/sign-out-everywhere HTTP/1.1", b"Host: 127.0.0.1", cookie, b"", b""])
    text = b"\r\n".join([b"POST /sign-in HTTP/1.1", b"Host: 127.0.0.1", *headers, b"", b"0\r\n\r\n" + inner])
    answered = statuses(asked_raw(shared, text))
    assert answered[1:] in ([], [400]), answered
    assert who_has_session(shared.services.db, session_of(person)) is not None


@pytest.mark.parametrize(
    "hosts", [(b"Host: elsewhere.example", b"Host: 127.0.0.1"), (b"Host: 127.0.0.1", b"Host: elsewhere.example"), ()]
)
def test_a_request_has_one_host(shared: Running, hosts: tuple[bytes, ...]) -> None:
    text = b"\r\n".join([b"GET / HTTP/1.1", *hosts, b"Connection: close", b"", b""])
    assert statuses(asked_raw(shared, text)) == [400]


def test_a_session_that_has_ended_is_no_session_again(shared: Running, person: Person) -> None:
    """However it was ended, whoever kept the cookie has nothing."""
    db, secret = shared.services.db, session_of(person)
    with hashed_quickly():
        ends: list[Callable[[str], object]] = [
            lambda session: shared.http.post("/sign-out", headers={"Cookie": f"{COOKIE}={session}"}),
            lambda session: shared.http.post("/account/sign-out-everywhere", headers={"Cookie": f"{COOKIE}={session}"}),
            lambda session: shared.http.post(
                f"{ACCOUNT}/password",
                headers={"Cookie": f"{COOKIE}={session}"},
                json={"present_password": PASSWORD, "password": f"{PASSWORD} at all"},
            ),
            lambda session: set_account(db, None, person.name, disabled=True),
        ]
        for end in ends:
            assert shared.http.get(ACCOUNT, headers={"Cookie": f"{COOKIE}={secret}"}).status_code == 200
            end(secret)
            shared.http.cookies.clear()
            for _ in range(2):
                assert shared.http.get(ACCOUNT, headers={"Cookie": f"{COOKIE}={secret}"}).status_code == 401
            secret = begin_session(db, person.account_id) if end is not ends[-1] else ""


def test_guesses_are_counted_for_names_that_are_there_and_for_others_alike(service: Running) -> None:
    found: dict[str, list[tuple[int, str]]] = {}
    with hashed_quickly():
        for name in (a_person(service.services.db, Caller.OWNER).name, "nobody-at-all"):
            found[name] = []
            for number in range(11):
                answer = service.http.post(
                    "/sign-in",
                    data={"name": name, "password": PASSWORD if number == 10 else "a wrong guess"},
                    headers={"X-Forwarded-For": f"192.0.2.{number}"},  # each from an address of its own
                )
                found[name].append((answer.status_code, re.sub(r"[0-9]+|" + re.escape(name), "", answer.text)))
    there, not_there = found.values()
    assert [status for status, _ in there] == [422] * 10 + [429]
    assert there == not_there


def test_guesses_are_counted_for_an_address_whatever_the_name(service: Running) -> None:
    with hashed_quickly():
        answers = [
            service.http.post("/sign-in", data={"name": f"jane-{number}", "password": "a guess"})
            for number in range(11)
        ]
    assert [answer.status_code for answer in answers] == [422] * 10 + [429]
    assert int(answers[-1].headers["retry-after"]) > 0


@pytest.mark.parametrize(
    "name",
    ["Jane-1", " jane-1 ", "JANE-1", "jane-1\u200b", "jane-\u0661", "j\u0430ne-1"],
)
def test_other_spellings_of_a_name_are_no_way_round_the_count(service: Running, name: str) -> None:
    """What is the same account is counted as the same; what is not, is not that account."""
    with hashed_quickly():
        account, link = invite(service.services.db, None, "jane-1", Role.SUBMITTER)
        choose_password_by_link(service.services.db, link, PASSWORD)
        for number in range(10):
            data = {"name": "jane-1", "password": "a guess"}
            service.http.post("/sign-in", data=data, headers={"X-Forwarded-For": f"192.0.2.{number}"})
        answer = service.http.post(
            "/sign-in", data={"name": name, "password": PASSWORD}, headers={"X-Forwarded-For": "192.0.2.99"}
        )
    assert answer.status_code in {422, 429}
    assert "set-cookie" not in answer.headers
    assert account.name == "jane-1"


@pytest.mark.slow
def test_time_does_not_tell_which_names_there_are(service: Running) -> None:
    """With real hashing: a name that is there, one that is not, one that was shut out, one without a password."""
    db = service.services.db
    for name in ("there", "shut-out"):
        _, link = invite(db, None, name, Role.SUBMITTER)
        choose_password_by_link(db, link, PASSWORD)
    set_account(db, None, "shut-out", disabled=True)
    invite(db, None, "invited", Role.SUBMITTER)
    names = ("there", "not-there", "shut-out", "invited", "Not A Name")
    took: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(25):
        for name in names:
            began = time.perf_counter()
            with pytest.raises(Exception, match="another name or password"):
                sign_in(db, name, "a wrong guess")
            took[name].append(time.perf_counter() - began)
    usual = {name: statistics.median(times) for name, times in took.items()}
    # Without the hash of nobody's password an unknown name would be answered in a fiftieth of the time.
    assert max(usual.values()) < 2 * min(usual.values()), json.dumps(usual)
