"""What the child gives up before it touches a submitted file."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from pathlib import Path

from worker import visible
from worker.child import landlock, seccomp
from worker.messages import Confinement

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_CAPSET = {"x86_64": 126, "aarch64": 91}
_CAPABILITY_VERSION_3 = 0x20080522
_OPEN_FILES = 256
_THREADS = 16_384
"""Threads and processes of the user, this one's among them; the filter of system calls refuses new processes."""
_FILE_BYTES = 4 * 1024**3
_ADDRESS_SPACE_BYTES = 64 * 1024**3
"""Address space, not memory: torch reserves far more than it uses."""
_DEVICES = tuple(Path(name) for name in ("/dev/null", "/dev/zero", "/dev/urandom", "/proc/self", "/proc/cpuinfo"))
_FILES_OF_MEMORY = (Path("/proc/meminfo"), Path("/proc/driver/nvidia"))


def confine(confinement: Confinement) -> None:
    """Bind this process to its parent's life and take from it what an evaluation does not need.

    Raises:
        OSError: the kernel refuses; nothing may be evaluated then.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    _prctl(libc, _PR_SET_PDEATHSIG, signal.SIGKILL)
    if confinement.parent is not None and os.getppid() != confinement.parent:
        sys.exit("The parent is gone.")  # it died before the line above
    _prctl(libc, _PR_SET_NO_NEW_PRIVS, 1)
    _limit(confinement)
    if not confinement.walls:
        return
    _drop_capabilities(libc)
    on_cuda = confinement.device != "cpu"
    system = (*visible.SYSTEM, *visible.SYSTEM_OF_CUDA * on_cuda, *_DEVICES, *_FILES_OF_MEMORY)
    devices = visible.devices_of_cuda() if on_cuda else (Path("/dev/null"),)
    readable = (*visible.program(), *system, *map(Path, confinement.readable))
    if landlock.restrict(readable=readable, writable=(Path.cwd(), *devices)) == 0:
        raise OSError("this kernel has no Landlock")
    if not seccomp.restrict():
        raise OSError("there is no filter of system calls for this processor")


def _limit(confinement: Confinement) -> None:
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: _OPEN_FILES,
        resource.RLIMIT_FSIZE: _FILE_BYTES,
        resource.RLIMIT_NPROC: _THREADS,
        resource.RLIMIT_CPU: confinement.cpu_s,
    }
    if confinement.device == "cpu":  # CUDA reserves addresses for the memory of all its devices
        limits[resource.RLIMIT_AS] = _ADDRESS_SPACE_BYTES
        limits[resource.RLIMIT_DATA] = confinement.memory_bytes
    for limit, value in limits.items():
        _, highest = resource.getrlimit(limit)
        allowed = value if highest == resource.RLIM_INFINITY else min(value, highest)
        resource.setrlimit(limit, (allowed, allowed))


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    """Give up what root can do beyond its own files; nothing for anybody else."""
    number = _CAPSET.get(os.uname().machine)
    if number is None:
        raise OSError("the number of the system call that drops capabilities is not known for this processor")
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    none = (ctypes.c_uint32 * 6)()
    if libc.syscall(number, header, none) != 0:
        raise OSError(ctypes.get_errno(), "capabilities could not be dropped")


def _prctl(libc: ctypes.CDLL, option: int, value: int) -> None:
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")
