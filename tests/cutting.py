"""A network that fails: a proxy on the loopback interface that resets connections in the middle."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

RESET = struct.pack("ii", 1, 0)
"""Close without lingering: what was not delivered is lost, as with a machine that dies."""


class Cutting:
    """A proxy that passes everything on until it is told otherwise.

    Args:
        target: address of the server behind it.
    """

    def __init__(self, target: str) -> None:
        address = urlsplit(target)
        self._server = (address.hostname or "", address.port or 80)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.answers: list[int] = []
        """For each connection to come, the bytes of answers after which it is reset; those behind the last live on."""
        self.requests: list[int] = []
        """The same for the bytes of requests."""
        self.connections = 0

    def close(self) -> None:
        """Reset everything that is open and take no more connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join(timeout=10)
        _wake(*self._open)
        for thread in self._threads:
            thread.join(timeout=10)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        """Pass both directions on, and reset what is left when both have ended."""
        with client, socket.create_connection(self._server) as server:
            self._open += [client, server]
            limits = [limits.pop(0) if limits else None for limits in (self.requests, self.answers)]
            there = threading.Thread(target=_forward, args=(client, server, limits[0]), daemon=True)
            there.start()
            _forward(server, client, limits[1])
            there.join()
            for end in (client, server):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


@contextlib.contextmanager
def cutting(target: str) -> Iterator[Cutting]:
    """Stand before a server until the end of the block."""
    network = Cutting(target)
    try:
        yield network
    finally:
        network.close()


def _forward(source: socket.socket, target: socket.socket, limit: int | None) -> None:
    passed = 0
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            if limit is not None and passed + len(data) > limit:
                target.sendall(data[: limit - passed])
                break
            target.sendall(data)
            passed += len(data)
        else:
            target.shutdown(socket.SHUT_WR)
            return
    _wake(source, target)


def _wake(*ends: socket.socket) -> None:
    for end in ends:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
