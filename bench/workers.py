"""Time one submission on one worker and on two, on the real distributed engine.

    python -m bench.workers --repeats 3

PostgreSQL, Redis, the service, the sweeper and the workers are processes of their own; each worker's evaluations run in
one thread. The time is that from the end of the check to the row on the board, as the audit of the submission's states
has it. The runs with one and with two workers alternate, on databases of their own.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import httpx

from model_zoo.registry import bundled_checkpoint, card
from store.states import OPEN
from store.views import State, SubmissionView
from tests.servers import PostgresServer, RedisServer

GAUNTLET = (sys.executable, "-m", "gauntlet")
MODEL = "Digits_PGD10"
PATIENCE_S = 1_200.0


@dataclass(frozen=True)
class Run:
    """What one submission took.

    Args:
        workers: how many there were.
        seconds: from the end of the check to the row.
        robust_accuracy: what was found, in [0, 1].
    """

    workers: int
    seconds: float
    robust_accuracy: float | None


@contextmanager
def process(arguments: Sequence[str], environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """Run a command of ours until the end of the block, and yield the JSON by which it says that it is ready."""
    with subprocess.Popen([*GAUNTLET, *arguments, "--json"], env=environment, stdout=subprocess.PIPE) as started:
        try:
            assert started.stdout is not None  # noqa: S101 - it was asked for
            lines = b""
            while not lines.rstrip().endswith(b"}"):
                line = started.stdout.readline()
                if not line:
                    raise RuntimeError(f"gauntlet {arguments[0]} did not start")
                lines += line
            yield json.loads(lines)
        finally:
            started.send_signal(signal.SIGTERM)


def run(workers: int) -> Run:
    """Evaluate one submission with that many workers."""
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        settings = {
            "var_dir": directory,
            "database_url": stack.enter_context(PostgresServer()).url,
            "redis_url": stack.enter_context(RedisServer()).url,
            "evaluate_zoo": "false",
            "port": "0",
        }
        environment = os.environ | {f"GAUNTLET_{name.upper()}": value for name, value in settings.items()}
        environment["OMP_NUM_THREADS"] = "1"
        url = stack.enter_context(process(["serve"], environment))["url"]
        stack.enter_context(process(["sweep"], environment))
        for _ in range(workers):
            stack.enter_context(process(["worker"], environment))
        http = stack.enter_context(httpx.Client(base_url=url, timeout=30))
        view = _evaluated(http, _submit(http))
    at = {step.state: step.at_ms for step in view.transitions}
    seconds = (at[State.PUBLISHED] - at[State.QUEUED]) / 1000
    return Run(workers, seconds, view.progress.robust_accuracy_at_most)


def _submit(http: httpx.Client) -> str:
    entry = card(MODEL, "digits", "Linf")
    content = bundled_checkpoint(entry).read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    http.put(f"/api/v1/uploads/{sha256}", content=content).raise_for_status()
    body = {
        "name": "Timed", "dataset": "digits", "threat_model": "Linf", "architecture": entry.architecture,
        "checkpoint_sha256": sha256,
    }  # fmt: skip
    answer = http.post("/api/v1/submissions", json=body).raise_for_status()
    return str(answer.json()["id"])


def _evaluated(http: httpx.Client, submission_id: str) -> SubmissionView:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        answer = http.get(f"/api/v1/submissions/{submission_id}").raise_for_status()
        view = SubmissionView.model_validate(answer.json())
        if view.state not in OPEN:
            if view.state is not State.PUBLISHED:
                raise RuntimeError(f"the submission ended as {view.state}: {view.reason}")
            return view
        time.sleep(0.5)
    raise RuntimeError("the submission was not evaluated in time")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the runs to this file")
    chosen = parser.parse_args()
    runs = []
    for _ in range(chosen.repeats):
        for workers in (1, 2):
            runs.append(run(workers))
            print(f"{workers} worker(s): {runs[-1].seconds:.1f} s", file=sys.stderr, flush=True)
    if len({found.robust_accuracy for found in runs}) != 1:
        raise RuntimeError("the runs differ in their result")
    one, two = (median(found.seconds for found in runs if found.workers == count) for count in (1, 2))
    print("| workers | runs | seconds, median | times as fast |", "|---|---|---|---|", sep="\n")
    print(f"| 1 | {chosen.repeats} | {one:.1f} | 1.00 |")
    print(f"| 2 | {chosen.repeats} | {two:.1f} | {one / two:.2f} |")
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(found) for found in runs], indent=1) + "\n")


if __name__ == "__main__":
    main()
