"""The child process: started with next to nothing, heard line by line, and ended with all it has started."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from worker.endings import Broken
from worker.messages import MAX_LINE_BYTES, Request
from worker.sandbox import Sandbox, environment

COMMAND = (sys.executable, "-I", "-B", "-m", "worker.child")
_CHUNK_BYTES = 256 * 1024
_KEPT_LOG_BYTES = 16 * 1024
_LAST_WAIT_S = 2.0
_SIGNALLED = 128
"""What the program that makes namespaces adds to the number of the signal that ended the child, as shells do."""


class Child:
    """A running child and what it has said so far."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise RuntimeError("the child was started without pipes")
        self._process = process
        self._stdin, self._stdout, self._stderr = process.stdin, process.stdout, process.stderr
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._stdout, selectors.EVENT_READ)
        self._selector.register(self._stderr, selectors.EVENT_READ)
        self._pending = b""
        self._log = b""

    @property
    def pid(self) -> int:
        """Its process id, which is also that of its group."""
        return self._process.pid

    @property
    def silent(self) -> bool:
        """Whether it has closed both pipes, as at its end."""
        return not self._selector.get_map()

    @property
    def log(self) -> str:
        """The end of what it wrote to stderr."""
        return self._log.decode(errors="replace")

    def ask(self, request: Request) -> None:
        """Send the one request; a child that is gone already shows itself when it is heard."""
        with contextlib.suppress(BrokenPipeError):
            self._stdin.write(request.model_dump_json().encode() + b"\n")
            self._stdin.flush()

    def hear(self, timeout_s: float) -> list[bytes]:
        """Wait a moment and return the lines that have become complete.

        Raises:
            Broken: a line is longer than any message.
        """
        lines: list[bytes] = []
        for key, _ in self._selector.select(timeout_s):
            data = os.read(key.fd, _CHUNK_BYTES)
            if not data:
                self._selector.unregister(key.fileobj)
            elif key.fileobj is self._stderr:
                self._log = (self._log + data)[-_KEPT_LOG_BYTES:]
            else:
                *lines, self._pending = (self._pending + data).split(b"\n")
        if any(len(line) > MAX_LINE_BYTES for line in (*lines, self._pending)):
            raise Broken("the evaluation process sent a line longer than any message")
        return lines

    def ending(self) -> str | None:
        """Say how it ended, once it is silent; None where all is well.

        Raises:
            Broken: it has closed its pipes and yet goes on.
        """
        try:
            code = self._process.wait(_LAST_WAIT_S)
        except subprocess.TimeoutExpired:
            raise Broken("the evaluation process fell silent and did not end") from None
        if code == 0:
            return None
        number = -code if code < 0 else code - _SIGNALLED
        try:
            return f"signal {signal.Signals(number).name}"
        except ValueError:
            return f"exit status {code}"

    def kill(self) -> None:
        """End it and its whole group at once."""
        # Until it is waited for, its number, and so that of its group, cannot become another's.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._await_silence()
        self._selector.close()
        for stream in (self._stdin, self._stdout, self._stderr):
            with contextlib.suppress(OSError):
                stream.close()

    def _await_silence(self) -> None:
        """Wait until nothing of the group is left that could still write, now that all of it was killed."""
        give_up_at = time.monotonic() + _LAST_WAIT_S
        while not self.silent and (left := give_up_at - time.monotonic()) > 0:
            for key, _ in self._selector.select(left):
                if not os.read(key.fd, _CHUNK_BYTES):
                    self._selector.unregister(key.fileobj)


@contextlib.contextmanager
def started(command: Sequence[str], sandbox: Sandbox, scratch: Path, threads: int, device: str) -> Iterator[Child]:
    """Start a child inside the sandbox, in a session of its own; end all of it afterwards.

    The kernel ends the child with the *thread* that started it, so the caller's must outlive it.
    """
    scratch = scratch.absolute()  # inside, no path is relative to where this process was started
    process = subprocess.Popen(
        sandbox.around(command, scratch, device),
        cwd=scratch,
        env=environment(scratch, threads),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    child = Child(process)
    try:
        yield child
    finally:
        child.kill()
