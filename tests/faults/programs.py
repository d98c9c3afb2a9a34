"""The commands of the distributed engine as real processes, to be killed, paused and started again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.faults import held_child
from tests.worker.work import children_of

ROOT = Path(__file__).parents[2]
START_S = 120.0
STOP_S = 60.0
HOLDS = "holds"
"""Directory, beside the logs, of the places at which evaluations are to be held."""
# The kernel ends the program with the thread that started it, so that nothing outlives a killed test. Its evaluations
# are those of any worker, but a test can hold them: by files that it shares with them, so there are no walls.
_BOUND = """
import ctypes, json, sys
ctypes.CDLL(None).prctl(1, 9)
import worker.process
worker.process.COMMAND = tuple(json.loads(sys.argv.pop()))
import gauntlet.data
from benchmark.report import SandboxLevel
from worker.sandbox import Sandbox
gauntlet.data.find_sandbox = lambda _: Sandbox(SandboxLevel.LIMITS)
from gauntlet.cli import main
main()
"""


def held_command(directory: Path) -> tuple[str, ...]:
    """Return the command of an evaluation that can be held, by files in a folder of that directory."""
    return (sys.executable, "-B", held_child.__file__, str(directory / HOLDS))


class Program:
    """A `gauntlet` command that runs until it is told to end.

    Args:
        directory: where its log is.
        name: of its log, and for messages.
        arguments: of the command.
        environment: all of its environment.
    """

    def __init__(self, directory: Path, name: str, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self.name = name
        self.log = directory / f"{name}.log"
        self._said = directory / f"{name}.json"
        self._arguments = (*arguments, "--json", json.dumps(held_command(directory)))
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self.paused = False

    @property
    def running(self) -> bool:
        """Whether the process exists."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process id."""
        if self._process is None:
            raise RuntimeError(f"{self.name} was never started")
        return self._process.pid

    @property
    def children(self) -> list[int]:
        """The evaluations that it has started."""
        return children_of(self.pid) if self.running else []

    @property
    def log_text(self) -> str:
        """What it has logged, through all its starts."""
        return self.log.read_text(encoding="utf-8") if self.log.exists() else ""

    def begin(self) -> None:
        """Start it, without waiting until it is ready."""
        if self.running:
            raise RuntimeError(f"{self.name} runs already")
        with self.log.open("ab") as log, self._said.open("wb") as said:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _BOUND, *self._arguments],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=log,
                cwd=self.log.parent,
                env=self._environment | {"PYTHONPATH": str(ROOT)},
                start_new_session=True,
            )

    def said(self, word: str) -> str:
        """Wait until it says on stdout that it is ready, and return that part of what it says."""
        deadline = time.monotonic() + START_S
        while True:
            try:
                value = json.loads(self._said.read_text(encoding="utf-8"))[word]
            except ValueError:
                value = None
            if isinstance(value, str):
                return value
            if not self.running or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} did not start:\n{self.log_text[-4_000:]}")
            time.sleep(0.02)

    def kill(self) -> None:
        """End it as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self.paused = False

    def stop(self) -> float:
        """Ask it to end; return the seconds until it has."""
        if self._process is None or not self.running:
            raise RuntimeError(f"{self.name} does not run")
        self.go_on()
        started = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise RuntimeError(f"{self.name} did not end:\n{self.log_text[-4_000:]}") from None
        if code != 0:
            raise RuntimeError(f"{self.name} ended with {code}:\n{self.log_text[-4_000:]}")
        return time.monotonic() - started

    def pause(self) -> None:
        """Stop it in its tracks, its children not."""
        os.kill(self.pid, signal.SIGSTOP)
        self.paused = True

    def go_on(self) -> None:
        """Let it go on after a pause."""
        if self.paused and self.running:
            os.kill(self.pid, signal.SIGCONT)
        self.paused = False
