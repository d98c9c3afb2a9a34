"""What messages are sent to: a mail server, and a server of webhooks that speaks TLS, both on this machine."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOST = "hooks.example.org"


@dataclass
class Mailbox:
    """A mail server and what it was told.

    Args:
        port: where it listens.
        mails: sender, receivers and content of each mail that it took.
        refusals: receivers that it refuses, with the answer.
        commands: every line that it was told.
    """

    port: int = 0
    mails: list[tuple[str, list[str], bytes]] = field(default_factory=list)
    refusals: dict[str, str] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)


@contextmanager
def mail_server(offers: str = "8BITMIME") -> Iterator[Mailbox]:
    """Take mail until the end of the block."""
    box = Mailbox()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self._say("220 here")
            sender, receivers = "", list[str]()
            while line := self.rfile.readline().decode("latin-1").rstrip("\r\n"):
                box.commands.append(line)
                verb = line[:4].upper()
                if verb == "EHLO":
                    self._say(f"250-here\r\n250 {offers}")
                elif verb == "MAIL":
                    sender = line[10:].partition(">")[0].lstrip("<")
                    self._say("250 ok")
                elif verb == "RCPT":
                    receivers.append(line[8:].partition(">")[0].lstrip("<"))
                    self._say(box.refusals.get(receivers[-1], "250 ok"))
                elif verb == "DATA":
                    self._say("354 go on")
                    box.mails.append((sender, receivers, self._content()))
                    self._say("250 taken")
                elif verb == "AUTH":
                    self._say("235 known")
                elif verb == "QUIT":
                    self._say("221 bye")
                    return
                else:
                    self._say("250 ok")

        def _say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

        def _content(self) -> bytes:
            lines = []
            while (line := self.rfile.readline()) not in {b".\r\n", b""}:
                lines.append(line[1:] if line.startswith(b"..") else line)
            return b"".join(lines)

    with _serving(Handler) as port:
        box.port = port
        yield box


@dataclass
class Hooks:
    """A server of webhooks and what it was sent.

    Args:
        port: where it listens.
        trust: what a caller must trust to believe its certificate.
        answer: what it answers, byte for byte.
        requests: everything that it was sent.
    """

    port: int
    trust: ssl.SSLContext
    answer: Callable[[socket.socket], None]
    requests: list[bytes] = field(default_factory=list)


def status(line: str) -> Callable[[socket.socket], None]:
    """Answer with a status and a body that nobody need read."""
    return lambda connection: connection.sendall(f"HTTP/1.1 {line}\r\n\r\n".encode() + b"x" * 100_000)


@contextmanager
def webhook_server(folder: Path) -> Iterator[Hooks]:
    """Speak TLS as HOST, on this machine, until the end of the block."""
    certificate = _certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with (
                contextlib.suppress(OSError),  # of a caller that does not believe us, or has enough
                context.wrap_socket(self.request, server_side=True) as connection,
            ):
                hooks.requests.append(_read_request(connection))
                hooks.answer(connection)

    with _serving(Handler) as port:
        hooks = Hooks(port, ssl.create_default_context(cafile=str(certificate)), status("204 No Content"))
        yield hooks


def _read_request(connection: ssl.SSLSocket) -> bytes:
    request = b""
    while b"\r\n\r\n" not in request:
        request += connection.recv(65_536)
    head, _, body = request.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(65_536)
    return head + b"\r\n\r\n" + body


@contextmanager
def _serving(handler: type[socketserver.BaseRequestHandler]) -> Iterator[int]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


def _certificate(folder: Path) -> Path:
    """Make a certificate for HOST that signs itself, and return the file with it and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = dt.datetime.now(dt.UTC)
    names = [x509.DNSName(HOST), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path
