"""What the child gives up before it touches a submitted file."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

from worker.messages import Request

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_OPEN_FILES = 256
_FILE_BYTES = 4 * 1024**3
_ADDRESS_SPACE_BYTES = 64 * 1024**3
"""Address space, not memory: torch reserves far more than it uses."""


def confine(request: Request) -> None:
    """Bind this process to its parent's life and take from it what an evaluation does not need."""
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


def _prctl(libc: ctypes.CDLL, option: int, value: int) -> None:
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")
