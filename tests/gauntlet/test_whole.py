"""From a file to a row: the service as people run it, with its worker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmark.report import EvaluationReport
from gauntlet.client import Client
from model_zoo.registry import bundled_checkpoint, card
from store.views import NewSubmission, State
from tests.worker.work import alive

ROOT = Path(__file__).parents[2]
CARD = card("Digits_Standard", "digits", "Linf")
BOARD = ("--dataset", "digits", "--threat-model", "Linf")


@contextmanager
def served(var_dir: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run `gauntlet serve` with one child until the end of the block."""
    command = [sys.executable, "-m", "gauntlet", "serve", "--port", "0", "--var-dir", str(var_dir), "--json"]
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "GAUNTLET_EVALUATE_ZOO": "false",
        "GAUNTLET_WORKER_CHILDREN": "1",
        "GAUNTLET_BEAT_MS": "500",
    }
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout is not None
        try:
            url = json.loads("".join(child.stdout.readline() for _ in range(4)))["url"]  # with the administrator's link
            yield url, child
        finally:
            child.send_signal(signal.SIGINT)
            try:
                child.wait(timeout=30)
            finally:
                child.kill()
    assert child.returncode == 0


def descendants(pid: int) -> list[int]:
    """Every process below one, from the kernel's own lists."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")  # a child hangs on the thread that started it
    children = [int(child) for children in lists for child in children.read_text(encoding="ascii").split()]
    return [*children, *(below for child in children for below in descendants(child))]


def gauntlet(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gauntlet", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=250
    )


@pytest.mark.slow
def test_a_submission_becomes_a_row_with_the_report_that_the_command_line_writes(tmp_path: Path) -> None:
    with served(tmp_path / "var") as (url, _):
        checkpoint = str(bundled_checkpoint(CARD))
        sent = gauntlet(
            "submit", checkpoint, "--name", "Mine", *BOARD, "--architecture", CARD.architecture,
            "--watch", "--json", "--server", url,
        )  # fmt: skip
        assert sent.returncode == 0, sent
        assert json.loads(sent.stdout)["state"] == "published"
        with Client(url) as client:
            (row,) = client.leaderboard("digits", "Linf").rows
            report = client.report("digits", "Linf", "Mine")
    assert (row.rank, row.model_id) == (1, "Mine")
    assert (row.standard_accuracy, row.robust_accuracy) == (report.standard_accuracy, report.robust_accuracy)

    seed = ("--seed", str(report.provenance.seed))  # told with the result
    local = gauntlet("evaluate", checkpoint, "--architecture", CARD.architecture, *BOARD, *seed, "--json", "-")
    assert local.returncode == 0, local.stderr
    assert EvaluationReport.model_validate_json(local.stdout).points == report.points

    downloaded = tmp_path / "report.json"
    downloaded.write_bytes(report.to_bytes())
    again = gauntlet("reproduce", str(downloaded), "--checkpoint", checkpoint)
    assert (again.returncode, again.stdout) == (0, "The result is bit-identical: 500 points, examples equal.\n")


@pytest.mark.slow
def test_stopping_the_service_ends_its_children_and_the_next_start_goes_on(tmp_path: Path) -> None:
    with served(tmp_path / "var") as (url, service), Client(url) as client:
        sha256 = client.upload(bundled_checkpoint(CARD)).sha256
        submission = NewSubmission(
            name="Mine",
            dataset="digits",
            threat_model="L2",
            architecture=CARD.architecture,
            checkpoint_sha256=sha256,
        )
        view = client.submit(submission)
        end = time.monotonic() + 60
        while not (below := descendants(service.pid)):
            assert time.monotonic() < end
            time.sleep(0.05)
    # What has lost its parent is a zombie until the machine's first process has taken note.
    assert [pid for pid in below if alive(pid)] == []
    with served(tmp_path / "var") as (url, _), Client(url) as client:
        *_, last = client.watch(view.id, every=0.2)
    assert last.state is State.PUBLISHED
    assert last.fault is None
