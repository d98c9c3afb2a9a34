"""What an evaluation sees of this machine's files: Python, its packages, this program and what the system needs."""

from __future__ import annotations

import sys
from pathlib import Path

_PACKAGES = ("benchmark", "model_zoo", "worker")
"""Those of this program that an evaluation loads; what else lies beside them may be the service's data."""
SYSTEM = (
    Path("/usr"),
    Path("/lib"),
    Path("/lib64"),
    Path("/etc/ld.so.cache"),
    Path("/sys/devices/system/cpu"),
)
SYSTEM_OF_CUDA = (Path("/sys/bus/pci"), Path("/sys/devices"))


def program() -> tuple[Path, ...]:
    """Return where Python, its packages and this program lie."""
    here = Path(__file__).resolve().parents[1]
    prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix}
    return (*(Path(prefix) for prefix in sorted(prefixes)), *(here / package for package in _PACKAGES))


def devices_of_cuda() -> tuple[Path, ...]:
    """Return the device files of the GPUs' driver."""
    return tuple(sorted(Path("/dev").glob("nvidia*")))
