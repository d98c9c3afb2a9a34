"""How attempts are run: what each of them gets, and how long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from worker import process
from worker.sandbox import Sandbox


@dataclass(frozen=True)
class Limits:
    """How attempts are run.

    Args:
        scratch: where attempts have their directories.
        sandbox: what is put around every child.
        lease_ms: length of a lease.
        beat_ms: longest time between two signs of life.
        wall_clock_s: time after which an attempt is given up.
        silence_s: time without any message after which a child counts as hung; one step of the largest model is less.
        slot_width: rows of a full batch on a CPU; on CUDA the memory decides.
        threads: threads of a child.
        device: where the child computes: "cpu" or a CUDA device.
        save_every_s: time between two snapshots, beside the one at each new attack.
        data_dir: folder of the data sets, an absolute path; None where there are only those that come along.
        command: the child's command line.
    """

    scratch: Path
    sandbox: Sandbox
    lease_ms: int
    beat_ms: int
    wall_clock_s: float = 24 * 3600.0
    silence_s: float = 900.0
    slot_width: int = 64
    threads: int = 1
    device: str = "cpu"
    save_every_s: float = 60.0
    data_dir: Path | None = None
    command: Sequence[str] = process.COMMAND
