"""The sandbox on this machine: every level holds what it promises, and none is taken for more than it is."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from benchmark.report import SandboxLevel
from store.services import Services
from tests.worker.work import (
    LEASE_MS,
    alive,
    children_of,
    claimed_shard,
    descendants_of,
    limits,
    played,
    real_sandbox,
    run,
    stored_report,
    submission,
    wait_for,
)
from worker import handover, process, sandbox
from worker.limits import Limits
from worker.messages import NAMESPACES
from worker.sandbox import Sandbox, SandboxTooWeak, find_sandbox, try_all, try_out

ROBUST = "Digits_PGD10"
WALLS = (SandboxLevel.LANDLOCK, SandboxLevel.NAMESPACES)

# What a model would do that had got hold of its process. It is confined as an evaluation is, and then tries.
HOSTILE = """
import ctypes, json, mmap, os, signal, socket, subprocess, sys, threading
from worker.child.confinement import confine
from worker.messages import Confinement
confine(Confinement.model_validate_json(sys.stdin.readline()))
target = json.loads(sys.stdin.readline())
libc = ctypes.CDLL(None, use_errno=True)

def call(name, *arguments):
    if getattr(libc, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)

def system_call(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), str(number))

def wrote(path):
    with open(path, "ab") as file:
        file.write(b"x")

tries = {
    "read a file outside": lambda: open(target["file"]).read(),
    "read it through a link": lambda: (os.symlink(target["file"], "link"), open("link").read()),
    "read it through a hard link": lambda: (os.link(target["file"], "hard"), open("hard").read()),
    "list a directory outside": lambda: os.listdir(os.path.dirname(target["file"])),
    "write outside": lambda: wrote(os.path.dirname(target["file"]) + "/reached"),
    "write to /tmp": lambda: wrote("/tmp/reached-from-the-sandbox"),
    "write to shared memory": lambda: wrote("/dev/shm/reached-from-the-sandbox"),
    "change the program": lambda: wrote(target["program"]),
    "change an installed package": lambda: wrote(target["package"]),
    "read the passwords": lambda: open("/etc/shadow").read(),
    "read the users": lambda: open("/etc/passwd").read(),
    "read the parent's environment": lambda: open(f"/proc/{target['process']}/environ", "rb").read(),
    "read the parent's memory": lambda: open(f"/proc/{target['process']}/mem", "rb").read(1),
    "read its files by their numbers": lambda: os.listdir(f"/proc/{target['process']}/fd"),
    "reach the network": lambda: socket.create_connection((target["host"], target["port"]), 2),
    "reach a socket of the file system": lambda: socket.socket(socket.AF_UNIX).connect(target["socket"]),
    "reach an abstract socket": lambda: socket.socket(socket.AF_UNIX).connect("\\0" + target["abstract"]),
    "send a datagram": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9)),
    "look up a name": lambda: socket.getaddrinfo("example.org", 80),
    "fork": lambda: os.fork() or os._exit(0),
    "start a program": lambda: subprocess.run(["/bin/true"], check=True),
    "become a program": lambda: os.execv("/bin/true", ["true"]),
    "signal the parent": lambda: os.kill(target["process"], 0) if target["process"] != os.getpid() else 1 / 0,
    "signal everybody": lambda: os.kill(-1, 0),
    "signal the first process": lambda: os.kill(1, 0),
    "trace the parent": lambda: call("ptrace", 16, target["process"], 0, 0),
    "mount": lambda: call("mount", b"none", b"/tmp", b"tmpfs", 0, None),
    "make namespaces": lambda: call("unshare", 0x10000000),
    "change the root": lambda: os.chroot("/usr"),
    "raise a limit": lambda: __import__("resource").setrlimit(7, (1024, 1024)),
    "become another user": lambda: os.setuid(1),
    "use io_uring": lambda: system_call(425, 1, ctypes.create_string_buffer(120)),
    "use keys": lambda: system_call(250, 0, -3, 1),
    "load a bpf program": lambda: system_call(321, 0, None, 0),
    "watch performance": lambda: system_call(298, None, 0, -1, -1, 0),
    "make a device": lambda: os.mknod("device", 0o600 | 0o060000, os.makedev(8, 0)),
}
done = []
for name, attempt in tries.items():
    if target["only"] and name not in target["only"]:
        continue
    try:
        attempt()
    except (OSError, subprocess.SubprocessError, ZeroDivisionError, ValueError):
        continue
    done.append(name)
thread = threading.Thread(target=lambda: open("written", "w").write("x"))
thread.start()
thread.join()
print(json.dumps({"done": done, "written": open("written").read(), "environment": sorted(os.environ)}))
"""


@pytest.mark.parametrize("level", WALLS)
def test_a_process_that_is_hostile_reaches_nothing(level: SandboxLevel, tmp_path: Path) -> None:
    scratch, outside = tmp_path / "scratch", tmp_path / "outside"
    scratch.mkdir()
    outside.mkdir()
    secret = outside / "secret"
    secret.write_text("secret")
    walls = Sandbox(level, shutil.which("bwrap") if level is SandboxLevel.NAMESPACES else None)
    assert try_out(walls).holds  # or what follows would change this machine
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_UNIX) as by_path,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        by_path.bind(str(outside / "socket"))
        by_path.listen()
        abstract.bind("\0gauntlet-" + str(os.getpid()))
        abstract.listen()
        target = {
            "file": str(secret),
            "program": handover.__file__,
            "package": pytest.__file__,
            "process": os.getpid(),
            "host": "127.0.0.1",
            "port": server.getsockname()[1],
            "socket": str(outside / "socket"),
            "abstract": "gauntlet-" + str(os.getpid()),
            "only": None,
        }
        found = _asked(walls, HOSTILE, scratch, target)
    assert found["done"] == []
    assert found["written"] == "x"
    assert set(found["environment"]) <= {"HOME", "TMPDIR", "LC_ALL", "OMP_NUM_THREADS", "PWD"}
    assert sorted(path.name for path in outside.iterdir()) == ["secret", "socket"]
    assert not Path("/tmp/reached-from-the-sandbox").exists()
    assert not Path("/dev/shm/reached-from-the-sandbox").exists()


def test_the_same_process_reaches_all_of_that_without_walls(tmp_path: Path) -> None:
    """So the test above would see it; tried is only what changes nothing on this machine."""
    scratch, outside = tmp_path / "scratch", tmp_path / "outside"
    scratch.mkdir()
    outside.mkdir()
    (outside / "secret").write_text("secret")
    harmless = [
        "read a file outside", "read it through a link", "list a directory outside", "write outside", "read the users",
        "read the parent's environment", "read its files by their numbers", "reach the network", "start a program",
        "signal the parent",
    ]  # fmt: skip
    with socket.create_server(("127.0.0.1", 0)) as server:
        target = {
            "file": str(outside / "secret"),
            "process": os.getpid(),
            "host": "127.0.0.1",
            "port": server.getsockname()[1],
            "only": harmless,
        }
        found = _asked(Sandbox(SandboxLevel.LIMITS), HOSTILE, scratch, target)
    assert found["done"] == harmless


def _asked(walls: Sandbox, source: str, scratch: Path, target: dict[str, Any]) -> dict[str, Any]:
    lines = walls.confinement("cpu", 60).model_dump_json() + "\n" + json.dumps(target) + "\n"
    done = subprocess.run(
        walls.around((sys.executable, "-I", "-B", "-c", source), scratch, "cpu"),
        input=lines,
        cwd=scratch,
        env=sandbox.environment(scratch, 1),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_every_level_holds_on_this_machine() -> None:
    assert [(probe.level, probe.holds, probe.reason) for probe in try_all()] == [
        (level, True, "") for level in SandboxLevel
    ]
    assert find_sandbox(SandboxLevel.LIMITS).level is SandboxLevel.NAMESPACES


def test_where_bubblewrap_is_missing_the_next_level_is_taken_and_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert find_sandbox(SandboxLevel.LANDLOCK).level is SandboxLevel.LANDLOCK
    assert "without the sandbox of level namespaces: bubblewrap is not installed" in caplog.text


def test_below_the_minimum_nothing_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(SandboxTooWeak, match="bubblewrap is not installed") as refused:
        find_sandbox(SandboxLevel.NAMESPACES)
    assert refused.value.detail is not None
    assert "GAUNTLET_SANDBOX_MINIMUM" in refused.value.detail.remedy


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("exit 1", "exit status 1"),
        ("echo 'bwrap: No permissions to create a new namespace' >&2; exit 1", "No permissions"),
        # It takes all arguments up to the command's and makes no namespace.
        ('while [ "$1" != -- ]; do shift; done; shift; exec "$@"', "the namespace net"),
    ],
    ids=["fails", "is not allowed", "does nothing"],
)
def test_a_bubblewrap_that_does_not_do_what_it_should_is_found_out(program: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "bwrap"
    path.write_text(f"#!/bin/sh\n{program}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    probe = try_out(Sandbox(SandboxLevel.NAMESPACES, str(path)))
    assert not probe.holds
    assert reason in probe.reason


def test_walls_that_were_not_put_up_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    open_one = Sandbox.confinement
    monkeypatch.setattr(Sandbox, "confinement", lambda *given: open_one(*given).model_copy(update={"walls": False}))
    probe = try_out(Sandbox(SandboxLevel.LANDLOCK))
    assert not probe.holds
    assert probe.reason == "it lets through: directory, file, network, process, signal"


@pytest.mark.slow
def test_an_evaluation_runs_inside_and_its_report_says_so(services: Services, tmp_path: Path) -> None:
    work = claimed_shard(services, ROBUST, 20)
    how = limits(tmp_path)
    run(services, work, how)
    report = stored_report(services, work)
    assert report.provenance.sandbox is SandboxLevel.NAMESPACES
    claimed = report.provenance.model_copy(update={"sandbox": None})
    assert report.model_copy(update={"provenance": claimed}).results_sha256() == report.results_sha256()


def test_the_process_of_an_evaluation_has_nothing_left(services: Services, tmp_path: Path) -> None:
    work = claimed_shard(services, ROBUST)
    stop = threading.Event()
    thread = threading.Thread(target=run, args=(services, work, limits(tmp_path), stop))
    thread.start()
    try:
        wait_for(lambda: submission(services, work).progress.attack)
        (outer,) = children_of(os.getpid())
        inner = descendants_of(outer)[-1]
        status = dict(
            line.split(":\t", 1) for line in Path(f"/proc/{inner}/status").read_text(encoding="ascii").splitlines()
        )
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
        assert {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}
        rows = {
            line[:26].strip(): line[26:].split()
            for line in Path(f"/proc/{inner}/limits").read_text(encoding="ascii").splitlines()
        }
        assert rows["Max core file size"][:2] == ["0", "0"]
        assert int(rows["Max open files"][1]) <= 1024
        for name in ("Max file size", "Max address space", "Max data size", "Max cpu time", "Max processes"):
            assert rows[name][1] != "unlimited", name
        for name in NAMESPACES:
            assert Path(f"/proc/{inner}/ns/{name}").readlink() != Path(f"/proc/self/ns/{name}").readlink()
        assert os.getpgid(inner) == os.getsid(inner) == outer
        assert not Path(f"/proc/{inner}/root/etc/passwd").exists()
    finally:
        stop.set()
        thread.join(10)


@pytest.mark.parametrize(
    "victim", [pytest.param(0, marks=pytest.mark.slow, id="the outermost"), pytest.param(-1, id="the innermost")]
)
def test_a_killed_process_takes_the_whole_sandbox_along(victim: int, services: Services, tmp_path: Path) -> None:
    work = claimed_shard(services, ROBUST)
    thread = threading.Thread(target=run, args=(services, work, limits(tmp_path)))
    thread.start()
    wait_for(lambda: submission(services, work).progress.attack)
    (outer,) = children_of(os.getpid())
    everything = [outer, *descendants_of(outer)]
    assert len(everything) == 3
    os.kill(everything[victim], 9)
    thread.join(20)
    assert not thread.is_alive()
    wait_for(lambda: not any(alive(pid) for pid in everything))  # ending takes the kernel a moment
    assert not list((tmp_path / "scratch").iterdir())


def test_the_end_of_a_child_in_namespaces_is_told_by_its_signal(services: Services, tmp_path: Path) -> None:
    with process.started(
        (sys.executable, "-c", "import os; os.kill(os.getpid(), 11)"), real_sandbox(), tmp_path, 1, "cpu"
    ) as child:
        while not child.silent:
            child.hear(1.0)
        assert child.ending() == "signal SIGSEGV"


def test_memory_beyond_the_limit_is_refused_and_not_taken_from_others(tmp_path: Path) -> None:
    source = """
import json, sys
from worker.child.confinement import confine
from worker.messages import Confinement
confine(Confinement.model_validate_json(sys.stdin.readline()))
sys.stdin.readline()
try:
    bytearray(3 * 1024**3)
except MemoryError:
    print(json.dumps({"refused": True}))
else:
    print(json.dumps({"refused": False}))
"""
    walls = real_sandbox()
    lines = walls.confinement("cpu", 60).model_copy(update={"memory_bytes": 2 * 1024**3}).model_dump_json() + "\n\n"
    done = subprocess.run(
        walls.around((sys.executable, "-I", "-B", "-c", source), tmp_path, "cpu"),
        input=lines, cwd=tmp_path, env=sandbox.environment(tmp_path, 1), capture_output=True, text=True, timeout=60,
        check=True,
    )  # fmt: skip
    assert json.loads(done.stdout) == {"refused": True}


@pytest.mark.parametrize(
    "filling",
    [
        "os.posix_fallocate(os.open('big', os.O_CREAT | os.O_RDWR), 0, 3_000_000)",
        "[open(str(n), 'w') for n in range(2_000)]",
    ],
    ids=["bytes", "files"],
)
def test_a_child_that_fills_its_scratch_directory_is_ended(
    filling: str, services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "MAX_SCRATCH_BYTES", 2_000_000)
    work = claimed_shard(services)
    started = time.monotonic()
    run(services, work, limits(tmp_path, played(f"import resource\n{filling}\ntime.sleep(600)")))
    assert time.monotonic() - started < 30
    view = submission(services, work)
    assert view.state.value in {"queued", "running"}
    assert not list((tmp_path / "scratch").iterdir())


def test_limits_name_their_sandbox() -> None:
    """There is no default: whoever runs models says inside what."""
    with pytest.raises(TypeError, match="sandbox"):
        Limits(Path("scratch"), lease_ms=LEASE_MS, beat_ms=1)  # type: ignore[call-arg]


def test_a_scratch_directory_may_be_named_relatively(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is by default: var/scratch, below where the service was started."""
    (tmp_path / "scratch").mkdir()
    monkeypatch.chdir(tmp_path)
    command = (sys.executable, "-c", "open('written', 'w').write('x')")
    with process.started(command, real_sandbox(), Path("scratch"), 1, "cpu") as child:
        while not child.silent:
            child.hear(1.0)
        assert child.ending() is None
    assert (tmp_path / "scratch" / "written").read_text() == "x"
