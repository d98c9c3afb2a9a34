"""What is freed stays with the process, so that the next tensor finds pages that are already there."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import resource, sys
from benchmark.allocator import keep_freed_memory
if sys.argv[1] == "keep" and not keep_freed_memory():
    sys.exit("this C library cannot be told")
for _ in range(40):
    bytearray(50 << 20)[::4096] = bytes(50 << 8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


def _page_faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True, timeout=60)
    return int(done.stdout)


def test_memory_that_was_freed_is_not_mapped_again() -> None:
    assert _page_faults("keep") < _page_faults("default") / 2
