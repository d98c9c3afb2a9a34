"""What can still be reached from inside the sandbox: ``python -m worker.child.probe``, one request on stdin.

It is started and confined as an evaluation is, and then tries what a hostile model would.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from worker.child.confinement import confine
from worker.messages import MAX_LINE_BYTES, NAMESPACES, ProbeRequest

_CONNECT_S = 2.0


def main() -> None:
    """Print the names of what could be reached and the namespaces that it is in, as a JSON object."""
    request = ProbeRequest.model_validate_json(sys.stdin.buffer.readline(MAX_LINE_BYTES))
    confine(request.confinement)
    attempts: dict[str, Callable[[], object]] = {
        "variable": lambda: os.environ[request.variable],
        "file": lambda: Path(request.file).read_bytes(),
        "directory": lambda: Path(request.file).with_name("reached").write_bytes(b""),
        "network": lambda: socket.create_connection((request.host, request.port), _CONNECT_S).close(),
        "process": _start_process,
    }
    if request.process != os.getpid():  # in a namespace of its own it may have the same number
        attempts["signal"] = lambda: os.kill(request.process, 0)
    reached = [name for name, attempt in attempts.items() if _succeeds(attempt)]
    Path("scratch").write_bytes(b"")  # the one thing that must be possible
    namespaces = {name: str(Path(f"/proc/self/ns/{name}").readlink()) for name in NAMESPACES}
    print(json.dumps({"reached": reached, "namespaces": namespaces}))  # noqa: T201 - its answer


def _succeeds(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except (OSError, KeyError):
        return False
    return True


def _start_process() -> None:
    if (child := os.fork()) == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


if __name__ == "__main__":
    main()
