"""What the child gives up before it touches a submitted file."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from pathlib import Path

from worker.child import landlock
from worker.messages import Request

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_OPEN_FILES = 256
_FILE_BYTES = 4 * 1024**3
_ADDRESS_SPACE_BYTES = 64 * 1024**3
"""Address space, not memory: torch reserves far more than it uses."""


_PACKAGES = ("benchmark", "model_zoo", "worker")
"""Those of this program that an evaluation loads; what else lies beside them may be the service's data."""
_SYSTEM = (
    "/usr",
    "/lib",
    "/lib64",
    "/etc/ld.so.cache",
    "/dev/null",
    "/dev/urandom",
    "/dev/zero",
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/sys/devices/system/cpu",
)
_CUDA = ("/proc/driver/nvidia", "/sys/bus/pci", "/sys/devices")


def confine(request: Request) -> None:
    """Bind this process to its parent's life and take from it what an evaluation does not need.

    Where the kernel has Landlock, that is every file but the program's and the scratch directory's, and the network.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    _prctl(libc, _PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != request.parent:
        sys.exit("The parent is gone.")  # it died before the line above
    _prctl(libc, _PR_SET_NO_NEW_PRIVS, 1)
    limits = {resource.RLIMIT_CORE: 0, resource.RLIMIT_NOFILE: _OPEN_FILES, resource.RLIMIT_FSIZE: _FILE_BYTES}
    if request.device == "cpu":  # CUDA reserves addresses for the memory of all its devices
        limits[resource.RLIMIT_AS] = _ADDRESS_SPACE_BYTES
    for limit, value in limits.items():
        resource.setrlimit(limit, (value, value))
    cuda = request.device != "cpu"
    landlock.restrict(
        readable=(*_program(), *(Path(path) for path in (*_SYSTEM, *_CUDA * cuda))),
        writable=(Path.cwd(), *Path("/dev").glob("nvidia*" if cuda else "null")),
    )


def _program() -> tuple[Path, ...]:
    """Return where Python, its packages and this program lie."""
    here = Path(__file__).resolve().parents[2]
    prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix}
    return (*(Path(prefix) for prefix in sorted(prefixes)), *(here / package for package in _PACKAGES))


def _prctl(libc: ctypes.CDLL, option: int, value: int) -> None:
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")
