"""One message to a webhook: signed, over https, to exactly the address that was found to be of the open internet."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from benchmark.report import canonical_json
from store.addresses import is_public
from store.deliveries import Delivery
from worker.messaging import NotDelivered

Resolve = Callable[[str, int], Sequence[str]]
"""Returns the IP addresses of a host."""
PORT = 443
LONGEST_ANSWER = 4_096
"""Bytes of an answer that are read to find its status; the rest is not looked at."""
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5]\d\d)\b")
_GONE = 410


def resolve(host: str, port: int) -> tuple[str, ...]:
    """Ask this machine's resolver, once."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(address[0]) for *_, address in found))


@dataclass(frozen=True)
class WebhookCaller:
    """Calls webhooks.

    A name is resolved once for each call. All of its addresses must be allowed, and the connection goes to one of
    these: a name that leads elsewhere a moment later leads nowhere. The certificate must be the name's all the same.

    Args:
        base: address of this service, that links begin with; empty where nobody has said.
        timeout_s: time that a call may take, from the first question to the status.
        resolve: finds the addresses of a name.
        allowed: whether an address may be called.
        context: which certificates are trusted; by default those of the system.
    """

    base: str = ""
    timeout_s: float = 10.0
    resolve: Resolve = resolve
    allowed: Callable[[str], bool] = is_public
    context: ssl.SSLContext = field(default_factory=ssl.create_default_context)

    def send(self, delivery: Delivery) -> None:
        """Call the webhook, and be content with any status of success.

        Raises:
            NotDelivered: it cannot be called, or answers otherwise.
        """
        parts = urlsplit(delivery.address)
        if parts.scheme != "https" or not parts.hostname or not re.fullmatch(r"[!-~]+", delivery.address):
            raise NotDelivered("its address may not be asked", lasting=True)
        deadline = time.monotonic() + self.timeout_s
        port = parts.port or PORT
        addresses = self._addresses(parts.hostname, port)
        request = self._request(parts, delivery)
        try:
            with self._connected(parts.hostname, port, addresses, deadline) as connection:
                connection.settimeout(_left(deadline))
                connection.sendall(request)
                status = _read_status(connection, deadline)
        except OSError as error:  # those of TLS are of this kind too
            raise NotDelivered(f"it could not be reached ({type(error).__name__})") from None
        if not 200 <= status < 300:
            more = "; redirects are not followed" if 300 <= status < 400 else ""
            raise NotDelivered(f"it answers {status}{more}", lasting=status == _GONE)

    def _addresses(self, host: str, port: int) -> Sequence[str]:
        found = self._resolved_in_time(host, port)
        if not found or not all(self.allowed(address) for address in found):
            raise NotDelivered("its name leads to no address of the open internet")
        return found

    def _resolved_in_time(self, host: str, port: int) -> Sequence[str]:
        """Ask the resolver in a thread of its own, for it alone knows no limit of time."""
        found: list[str] = []

        def ask() -> None:
            with contextlib.suppress(OSError, UnicodeError):
                found.extend(self.resolve(host, port))

        thread = threading.Thread(target=ask, name="resolver", daemon=True)
        thread.start()
        thread.join(self.timeout_s)
        if thread.is_alive():
            raise NotDelivered("its name was not found in time")
        return tuple(found)

    def _connected(self, host: str, port: int, addresses: Sequence[str], deadline: float) -> ssl.SSLSocket:
        failure: OSError = TimeoutError()
        for address in addresses:
            try:
                plain = socket.create_connection((address, port), timeout=_left(deadline))
            except OSError as error:
                failure = error
                continue
            try:
                plain.settimeout(_left(deadline))
                return self.context.wrap_socket(plain, server_hostname=host)
            except BaseException:
                plain.close()
                raise
        raise failure

    def _request(self, parts: SplitResult, delivery: Delivery) -> bytes:
        body = canonical_json(
            {
                "id": delivery.id,
                "event": delivery.event,
                "message": delivery.message,
                "at_ms": delivery.at_ms,
                "url": f"{self.base}{delivery.path}",
            }
        )
        timestamp = str(int(time.time()))
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        lines = (
            f"POST {target} HTTP/1.1",
            f"Host: {parts.netloc}",
            "User-Agent: gauntlet",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            "Connection: close",
            f"X-Gauntlet-Event: {delivery.event}",
            f"X-Gauntlet-Timestamp: {timestamp}",
            f"X-Gauntlet-Signature: sha256={signature(delivery.secret, timestamp, body)}",
        )
        return "\r\n".join((*lines, "", "")).encode("ascii") + body


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """Return the HMAC-SHA256 of the timestamp, a point and the body, in hexadecimal."""
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def _read_status(connection: ssl.SSLSocket, deadline: float) -> int:
    answer = b""
    while b"\n" not in answer and len(answer) < LONGEST_ANSWER:
        connection.settimeout(_left(deadline))
        chunk = connection.recv(LONGEST_ANSWER - len(answer))
        if not chunk:
            break
        answer += chunk
    status = _STATUS.match(answer)
    if status is None:
        raise NotDelivered("what it answers is no HTTP")
    return int(status[1])


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
