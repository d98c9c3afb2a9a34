"""The sandbox of an evaluation: what this machine can put up, tried out before any model is run."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import ErrorDetail, GauntletError
from benchmark.report import SandboxLevel
from worker import visible
from worker.messages import NAMESPACES, Confinement, ProbeRequest

logger = logging.getLogger(__name__)

PROBE = (sys.executable, "-I", "-B", "-m", "worker.child.probe")
_PROBE_S = 60.0
_MEMORY_SHARE = 0.9
_TOLERATED = {
    # A process may always signal another of its user, and start more, where nothing but limits holds it.
    SandboxLevel.LIMITS: frozenset({"file", "directory", "network", "process", "signal"}),
    SandboxLevel.LANDLOCK: frozenset[str](),
    SandboxLevel.NAMESPACES: frozenset[str](),
}
"""What a probe may reach for a level to count as held."""


class SandboxTooWeak(GauntletError):
    """This machine cannot put up what the settings demand around an evaluation."""

    code = "sandbox_too_weak"


@dataclass(frozen=True)
class Sandbox:
    """What is put around every evaluation.

    Args:
        level: which of the levels.
        bubblewrap: path of the program that makes the namespaces; None below that level.
        readable: absolute paths that an evaluation may read beyond the program: those of the data sets.
    """

    level: SandboxLevel
    bubblewrap: str | None = None
    readable: tuple[Path, ...] = ()

    def around(self, command: Sequence[str], scratch: Path, device: str) -> list[str]:
        """Return the command line that starts a child inside.

        Args:
            command: the child's own.
            scratch: the one directory that it may write to.
            device: where it computes.
        """
        if self.bubblewrap is None:
            return list(command)
        return [self.bubblewrap, *_namespaces(scratch, device, self.readable), "--", *command]

    def confinement(self, device: str, cpu_s: float) -> Confinement:
        """Return what a child is to give up by itself.

        Args:
            device: where it computes.
            cpu_s: seconds of computing after which it is ended.
        """
        return Confinement(
            parent=os.getpid() if self.bubblewrap is None else None,
            device=device,
            walls=self.level is not SandboxLevel.LIMITS,
            memory_bytes=int(_MEMORY_SHARE * _memory_bytes()),
            cpu_s=int(cpu_s),
            readable=tuple(map(str, self.readable)),
        )


@dataclass(frozen=True)
class Probe:
    """What became of trying a level.

    Args:
        level: which.
        holds: whether it does what it should.
        reason: why not; empty where it holds.
    """

    level: SandboxLevel
    holds: bool
    reason: str


def find_sandbox(minimum: SandboxLevel) -> Sandbox:
    """Return the strongest sandbox that this machine can put up, as a probe has just found.

    Args:
        minimum: the weakest level that will do.
    Raises:
        SandboxTooWeak: the strongest is weaker.
    """
    failed: list[Probe] = []
    for level in reversed(SandboxLevel):
        sandbox = _sandbox(level)
        probe = try_out(sandbox) if sandbox else Probe(level, holds=False, reason="bubblewrap is not installed")
        if probe.holds and sandbox is not None:
            if level.rank < minimum.rank:
                break
            for weaker in failed:
                logger.warning("evaluations run without the sandbox of level %s: %s", weaker.level, weaker.reason)
            return sandbox
        failed.append(probe)
    reasons = "; ".join(f"{probe.level}: {probe.reason}" for probe in failed)
    raise SandboxTooWeak(
        f"This machine cannot put up a sandbox of level {minimum} or above around evaluations ({reasons}).",
        ErrorDetail(
            "sandbox_minimum",
            reasons,
            str(minimum),
            "install bubblewrap 0.8 or later and allow user namespaces, or, where only your own models are run, set "
            "GAUNTLET_SANDBOX_MINIMUM to a level that holds; `gauntlet sandbox` tries them all",
        ),
    )


def try_all() -> tuple[Probe, ...]:
    """Try every level, the weakest first."""
    return tuple(
        try_out(sandbox) if (sandbox := _sandbox(level)) else Probe(level, False, "bubblewrap is not installed")
        for level in SandboxLevel
    )


def try_out(sandbox: Sandbox) -> Probe:
    """Start a child inside that tries to reach what it should not."""
    try:
        reached = _reached(sandbox)
    except (OSError, subprocess.SubprocessError, ValueError, LookupError, TypeError) as error:
        return Probe(sandbox.level, holds=False, reason=str(error)[-300:] or type(error).__name__)
    holes = sorted(reached - _TOLERATED[sandbox.level])
    return Probe(sandbox.level, holds=not holes, reason=f"it lets through: {', '.join(holes)}" if holes else "")


def _sandbox(level: SandboxLevel) -> Sandbox | None:
    if level is not SandboxLevel.NAMESPACES:
        return Sandbox(level)
    bubblewrap = shutil.which("bwrap")
    return Sandbox(level, bubblewrap) if bubblewrap else None


def _reached(sandbox: Sandbox) -> set[str]:
    with _canaries() as (outside, port), tempfile.TemporaryDirectory() as scratch:
        request = ProbeRequest(
            confinement=sandbox.confinement("cpu", _PROBE_S),
            variable="PATH",
            file=str(outside),
            host="127.0.0.1",
            port=port,
            process=os.getpid(),
        )
        done = subprocess.run(
            sandbox.around(PROBE, Path(scratch), "cpu"),
            cwd=scratch,
            env=environment(Path(scratch), 1),
            input=request.model_dump_json().encode() + b"\n",
            capture_output=True,
            timeout=_PROBE_S,
            check=False,
        )
        if done.returncode != 0:
            lines = done.stderr.decode(errors="replace").strip().splitlines()
            raise ValueError(lines[-1] if lines else f"exit status {done.returncode}")
        found = json.loads(done.stdout)
        reached = {str(name) for name in found["reached"]}
        if outside.with_name("reached").exists():
            reached.add("directory")
        if sandbox.level is SandboxLevel.NAMESPACES:
            own = {name: str(Path(f"/proc/self/ns/{name}").readlink()) for name in NAMESPACES}
            reached.update(f"the namespace {name}" for name in NAMESPACES if found["namespaces"][name] == own[name])
        return reached


def environment(scratch: Path, threads: int) -> dict[str, str]:
    """Return all of a child's environment: nothing of the parent's, which may hold secrets."""
    return {"HOME": str(scratch), "TMPDIR": str(scratch), "LC_ALL": "C.UTF-8", "OMP_NUM_THREADS": str(threads)}


@contextlib.contextmanager
def _canaries() -> Iterator[tuple[Path, int]]:
    """Put up what a probe must not reach: a file outside its scratch directory and a port of this machine."""
    with (
        tempfile.TemporaryDirectory() as directory,
        socket.create_server(("127.0.0.1", 0)) as server,
    ):
        outside = Path(directory) / "canary"
        outside.write_text(secrets.token_hex(), encoding="ascii")
        yield outside, server.getsockname()[1]


def _namespaces(scratch: Path, device: str, readable: Sequence[Path]) -> list[str]:
    """Return bubblewrap's arguments: new namespaces of every kind, and of the files only what is needed.

    The child stays in the process group that its parent ends it by; it has no terminal, as it is in a session of its
    own already.
    """
    on_cuda = device != "cpu"
    arguments = ["--unshare-user", "--unshare-all", "--disable-userns", "--die-with-parent", "--cap-drop", "ALL"]
    arguments += ["--uid", "65534", "--gid", "65534", "--hostname", "evaluation"]
    arguments += ["--proc", "/proc", "--dev", "/dev"]
    for path in (*visible.SYSTEM, *visible.SYSTEM_OF_CUDA * on_cuda, *sorted(visible.program())):
        arguments += _shown(path)
    for path in readable:  # where it is a link, or beyond one, what it leads to is seen in its place
        arguments += ["--ro-bind-try", str(path), str(path)]
    if on_cuda:
        for path in visible.devices_of_cuda():
            arguments += ["--dev-bind-try", str(path), str(path)]
    arguments += ["--remount-ro", "/dev", "--bind", str(scratch), str(scratch), "--remount-ro", "/"]
    return [*arguments, "--chdir", str(scratch)]


def _shown(path: Path) -> list[str]:
    if path.is_symlink():  # such as /lib, which is usr/lib
        return ["--symlink", str(path.readlink()), str(path)]
    return ["--ro-bind-try", str(path), str(path)]


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
