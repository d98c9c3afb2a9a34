"""An end to waiting for an answer: timeouts of single reads never pass where a server sends a byte now and then."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self


class Deadline:
    """Shuts a client's connections down where an answer does not begin in time; the read that waits then fails."""

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for known in self._sockets:
            known.close()

    def trace(self, event: str, details: Mapping[str, Any]) -> None:
        """Note a connection that was made; for a request's extension "trace"."""
        if event == "connection.connect_tcp.complete":
            made = details["return_value"].get_extra_info("socket")
            # A duplicate: TLS takes the socket itself over, handshake included.
            self._sockets.append(socket.socket(fileno=os.dup(made.fileno())))

    @contextlib.contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Let what is done inside take so long at most."""
        timer = threading.Timer(seconds, self._shut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _shut(self) -> None:
        for known in list(self._sockets):
            with contextlib.suppress(OSError):
                known.shutdown(socket.SHUT_RDWR)
