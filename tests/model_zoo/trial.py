"""What becomes of a file, each in a process of its own: python -m tests.model_zoo.trial, with one request a line.

torch is loaded once and the process then copied for each file, so that hundreds of them take a minute.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from tests.house.layout import ROOT

MEMORY_BYTES = 8 * 2**30
SECONDS = 60

Way = Literal["ours", "torch.export.load", "torch.load"]


@dataclass(frozen=True)
class Trial:
    """A file to try.

    Args:
        path: of the file; the process works in its folder.
        architecture: what the submission says.
        way: who reads it.
    """

    path: Path
    architecture: str
    way: Way = "ours"


@dataclass(frozen=True)
class Outcome:
    """What became of it.

    Args:
        ended: "refused" by InvalidCheckpoint, "ran", the name of another error, or the signal that ended the process.
        stage: how far it came: "check", "load" or "run".
        message: of the error.
        seconds: that it took.
        grown: bytes that the process grew by.
        files: what lay in the folder afterwards.
    """

    ended: str
    stage: str
    message: str
    seconds: float
    grown: int
    files: tuple[str, ...]


def outcomes(trials: Iterable[Trial], honest: Path) -> Iterator[Outcome]:
    """Try files one after the other.

    Args:
        trials: what to try.
        honest: a sound one, loaded first for all that torch imports when it is first needed.
    """
    requests = "".join(json.dumps({**asdict(trial), "path": str(trial.path)}) + "\n" for trial in trials)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.model_zoo.trial", str(honest)],
        input=requests,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
        cwd=ROOT,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    for line in done.stdout.splitlines():
        fields = json.loads(line)
        yield Outcome(**{**fields, "files": tuple(fields["files"])})


def _read(trial: Trial, told: dict[str, str]) -> None:
    """Take a file the way that the service takes it, or as torch would."""
    import torch

    told["stage"] = "load"
    if trial.way == "torch.load":
        torch.load(trial.path, weights_only=False)
    elif trial.way == "torch.export.load":
        program = torch.export.load(trial.path)
        told["stage"] = "run"
        program.module()(torch.rand(2, 1, 8, 8))
    else:
        from model_zoo.checkpoints.formats import check_fits
        from model_zoo.loading import load_submitted

        told["stage"] = "check"
        check_fits(trial.path, trial.architecture)
        told["stage"] = "load"
        network = load_submitted(trial.path, trial.architecture, "digits")
        told["stage"] = "run"
        with torch.no_grad():
            network(torch.rand(2, 1, 8, 8))


def _try(trial: Trial, answer: int) -> None:
    """Try a file in this process and write what became of it."""
    from benchmark.errors import InvalidCheckpoint

    os.chdir(trial.path.parent)
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    told = {"ended": "ran", "stage": "check", "message": ""}
    try:
        _read(trial, told)
    except InvalidCheckpoint as error:
        json.dumps(error.as_json()).encode("ascii")
        told |= {"ended": "refused", "message": error.message[:500]}
    except BaseException as error:  # noqa: BLE001 - to be told, whatever it is
        told |= {"ended": type(error).__name__, "message": f"{error}"[:300] + traceback.format_exc()[-1_000:]}
    os.write(answer, json.dumps(told).encode())


def _in_a_copy(trial: Trial) -> dict[str, Any]:
    reading, writing = os.pipe()
    before, began = _resident(), time.perf_counter()
    child = os.fork()
    if child == 0:
        os.close(reading)
        null = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(null, standard)
        try:
            _try(trial, writing)
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    _, status, usage = os.wait4(child, 0)
    fields: dict[str, Any] = (
        json.loads(told) if told else {"ended": f"signal {status & 0x7F}", "stage": "unknown", "message": ""}
    )
    fields["seconds"] = time.perf_counter() - began
    fields["grown"] = max(usage.ru_maxrss * 1024 - before, 0)
    fields["files"] = sorted(path.name for path in trial.path.parent.iterdir())
    return fields


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def _main() -> None:
    import torch

    torch.set_num_threads(1)
    _read(Trial(Path(sys.argv[1]), "exported"), {})
    for line in sys.stdin.read().splitlines():
        fields = json.loads(line)
        trial = Trial(Path(fields["path"]), fields["architecture"], fields["way"])
        print(json.dumps(_in_a_copy(trial)), flush=True)  # noqa: T201 - this is how it answers


if __name__ == "__main__":
    _main()
