"""Webhooks: signed, to the open internet alone, to the address that was looked at, and never for long."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from store.addresses import is_public
from store.deliveries import Delivery
from store.notices import Channel
from tests.worker.receivers import HOST, Hooks, status, webhook_server
from worker.messaging import NotDelivered
from worker.webhook_calls import Resolve, WebhookCaller, signature

HERE = "127.0.0.1"
BASE = "https://gauntlet.example"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hooks]:
    with webhook_server(tmp_path_factory.mktemp("hooks")) as hooks:
        yield hooks


@pytest.fixture
def hooks(server: Hooks) -> Hooks:
    server.requests.clear()
    server.answer = status("204 No Content")
    return server


def delivery(address: str, **changes: object) -> Delivery:
    fields: dict[str, object] = {
        "id": 7,
        "channel": Channel.WEBHOOK,
        "event": "submission.published",
        "message": "Your submission é is published.",
        "path": "/models/digits/Linf/M",
        "at_ms": 1_000,
        "address": address,
        "secret": "key",
    }
    return Delivery.model_validate(fields | changes)


def leading_to(*addresses: str) -> Resolve:
    return lambda host, port: addresses


def caller(hooks: Hooks, resolve: Resolve | None = None, timeout_s: float = 10.0) -> WebhookCaller:
    """A caller that trusts the server of the tests and may call this machine; in all else it is the service's."""
    return WebhookCaller(BASE, timeout_s, resolve or leading_to(HERE), lambda address: address == HERE, hooks.trust)


def refusal(call: Callable[[], None]) -> NotDelivered:
    with pytest.raises(NotDelivered) as caught:
        call()
    return caught.value


def test_a_call_is_signed(hooks: Hooks) -> None:
    caller(hooks).send(delivery(f"https://{HOST}:{hooks.port}/in/here?key=1"))
    (request,) = hooks.requests
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert first == "POST /in/here?key=1 HTTP/1.1"
    assert headers["Host"] == f"{HOST}:{hooks.port}"
    assert abs(int(headers["X-Gauntlet-Timestamp"]) - time.time()) < 60
    assert headers["X-Gauntlet-Signature"] == f"sha256={signature('key', headers['X-Gauntlet-Timestamp'], body)}"
    assert json.loads(body) == {
        "id": 7,
        "event": "submission.published",
        "message": "Your submission é is published.",
        "at_ms": 1_000,
        "url": f"{BASE}/models/digits/Linf/M",
    }


def test_the_signature_is_the_hmac_of_timestamp_and_body() -> None:
    # By openssl: printf '1.{}' | openssl dgst -sha256 -hmac key
    assert signature("key", "1", b"{}") == "1ba6b8171186efc613e8bcc0cbdab2748f24984d7c5a84faa2637afa0e40d224"


def test_a_name_is_asked_for_once_and_the_call_goes_where_it_led(hooks: Hooks) -> None:
    answers = [(HERE,), ("10.0.0.1",), ("169.254.169.254",)]
    asked: list[tuple[str, int]] = []

    def rebinding(host: str, port: int) -> Sequence[str]:
        asked.append((host, port))
        return answers[len(asked) - 1]

    caller(hooks, rebinding).send(delivery(f"https://{HOST}:{hooks.port}/"))
    assert asked == [(HOST, hooks.port)]
    assert len(hooks.requests) == 1


def test_one_forbidden_address_among_others_is_enough(hooks: Hooks) -> None:
    forbidden = WebhookCaller(resolve=leading_to("93.184.215.14", HERE), context=hooks.trust)
    error = refusal(lambda: forbidden.send(delivery(f"https://{HOST}:{hooks.port}/")))
    assert (error.reason, error.lasting) == ("its name leads to no address of the open internet", False)
    assert hooks.requests == []


@pytest.mark.parametrize("host", [HERE, "localhost", "[::1]", "169.254.169.254", "2130706433", "0x7f.1", "127.1"])
def test_this_machine_is_not_called_under_any_of_its_names(hooks: Hooks, host: str) -> None:
    """By the resolver that the service uses."""
    refusal(lambda: WebhookCaller(context=hooks.trust).send(delivery(f"https://{host}:{hooks.port}/")))
    assert hooks.requests == []


def test_a_certificate_of_another_name_is_not_believed(hooks: Hooks) -> None:
    error = refusal(lambda: caller(hooks).send(delivery(f"https://other.example.org:{hooks.port}/")))
    assert error.reason == "it could not be reached (SSLCertVerificationError)"
    strict = WebhookCaller("", 10.0, leading_to(HERE), lambda _: True)
    refusal(lambda: strict.send(delivery(f"https://{HOST}:{hooks.port}/")))
    assert hooks.requests == []


@pytest.mark.parametrize(
    ("answer", "reason", "lasting"),
    [
        ("302 Found\r\nLocation: https://127.0.0.1/", "it answers 302; redirects are not followed", False),
        ("500 Oops", "it answers 500", False),
        ("410 Gone", "it answers 410", True),
        ("100 Continue", "it answers 100", False),
        ("2000 Many", "what it answers is no HTTP", False),
    ],
)
def test_only_success_is_success(hooks: Hooks, answer: str, reason: str, lasting: bool) -> None:
    hooks.answer = status(answer)
    error = refusal(lambda: caller(hooks).send(delivery(f"https://{HOST}:{hooks.port}/")))
    assert (error.reason, error.lasting) == (reason, lasting)
    assert len(hooks.requests) == 1


def silent(connection: socket.socket) -> None:
    connection.recv(1)


def dripping(connection: socket.socket) -> None:
    for _ in range(200):
        connection.sendall(b"H")
        time.sleep(0.05)


def endless(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"x" * 65_536)


def closing(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("answer", [silent, dripping, endless, closing])
def test_nobody_holds_the_sender_up(hooks: Hooks, answer: Callable[[socket.socket], None]) -> None:
    hooks.answer = answer
    start = time.monotonic()
    refusal(lambda: caller(hooks, timeout_s=0.4).send(delivery(f"https://{HOST}:{hooks.port}/")))
    assert time.monotonic() - start < 2


def test_a_resolver_that_does_not_answer_is_not_waited_for(hooks: Hooks) -> None:
    def slow(host: str, port: int) -> Sequence[str]:
        time.sleep(1)
        return (HERE,)

    error = refusal(lambda: caller(hooks, slow, 0.1).send(delivery(f"https://{HOST}:{hooks.port}/")))
    assert error.reason == "its name was not found in time"
    assert hooks.requests == []


@pytest.mark.parametrize("address", ["http://hooks.example.org/", "https://", "https://a/\r\nX: 1", "https://a/ b"])
def test_what_is_no_address_is_not_asked(hooks: Hooks, address: str) -> None:
    assert refusal(lambda: caller(hooks).send(delivery(address))).lasting


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.9.1",
        "0.0.0.0",  # noqa: S104
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "198.18.0.1",
        "192.0.2.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::7f00:1",
        "2002:7f00:1::",
        "2001:0:7f00:1::",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "fd00:ec2::254",
        "ff02::1",
        "2001:db8::1",
        "localhost",
        "",
    ],
)
def test_addresses_that_are_not_of_the_open_internet(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.215.14", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_addresses_of_the_open_internet(address: str) -> None:
    assert is_public(address)
