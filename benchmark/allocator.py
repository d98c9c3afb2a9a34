"""How glibc's allocator treats the memory that tensors leave behind."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_NEVER = 1 << 30


def keep_freed_memory() -> bool:
    """Have this process keep the memory of freed tensors for the next ones; tell whether it could be done.

    By default every large tensor on a CPU is mapped and unmapped again, and touching its fresh pages costs up to 40 %
    of an evaluation. Call it first in a process of one's own; a library should not decide this for its caller.

    Source:
        mallopt(3).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, TypeError):  # another C library
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _NEVER)) and bool(mallopt(_M_TRIM_THRESHOLD, _NEVER))
