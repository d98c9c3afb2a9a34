"""``gauntlet external``: examples sent in, watched until they are judged, and what the exit code says of them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from gauntlet.cli.console import ExitCode
from store.externals import list_externals
from store.views import ExternalView
from tests.running import Running
from tests.store.lowered import judge_examples
from tests.store.material import published

ROOT = Path(__file__).parents[2]
PLACE = ("digits", "Linf", "Method A")


def started(service: Running, file: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start the command as people do."""
    entry = ("--dataset", "digits", "--threat-model", "Linf", "--model", "Method A", "--attack", "by hand")
    command = [sys.executable, "-W", "error", "-m", "gauntlet", "external", str(file), *entry, *arguments]
    environment = {"PYTHONPATH": str(ROOT), "GAUNTLET_SERVER": service.url, "PATH": "/usr/bin:/bin"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def arrived(service: Running) -> ExternalView:
    """Wait for the examples."""
    end = time.monotonic() + 60
    while not (views := list_externals(service.services.db, PLACE, 10)):
        assert time.monotonic() < end
        time.sleep(0.02)
    (view,) = views
    return view


def images(folder: Path, count: int) -> Path:
    path = folder / "x_adv.npy"
    np.save(path, np.zeros((count, 1, 8, 8), np.float32))
    return path


@pytest.mark.parametrize(
    ("holding", "state", "code"),
    [
        ((100, 101, 499), "verified", ExitCode.OK),
        pytest.param((100, 101), "refused", ExitCode.FAILED, marks=pytest.mark.slow),
    ],
)
def test_waits_until_the_examples_are_judged(
    service: Running, tmp_path: Path, holding: tuple[int, ...], state: str, code: ExitCode
) -> None:
    published(service.services.db, service.services.blobs, "Method A")
    with started(service, images(tmp_path, 3), "--points", "100-101,499", "--watch") as child:
        view = arrived(service)
        assert view.submitted.points == (100, 101, 499)
        judged = judge_examples(service.services, view, holding)
        output, errors = child.communicate(timeout=60)
    assert (child.returncode, errors) == (code, "")
    assert output.startswith(f"Sent as {view.id}: {service.url}/external-evaluations/{view.id}\nState: {state}\n")
    assert f"holds: {len(holding)}\n" in output
    assert judged.reason in output


def test_prints_what_the_service_answers_and_reads_points_from_a_file(service: Running, tmp_path: Path) -> None:
    published(service.services.db, service.services.blobs, "Method A")
    named = tmp_path / "points.txt"
    named.write_text("3\n4\n10-11\n", encoding="utf-8")
    options = ("--points-file", str(named), "--title", "A title", "--authors", "Jane Doe", "--claimed", "0.9", "--json")
    with started(service, images(tmp_path, 4), *options) as child:
        output, errors = child.communicate(timeout=60)
    assert (child.returncode, errors) == (ExitCode.OK, "")
    view = arrived(service)
    assert json.loads(output) == view.model_dump(mode="json")
    assert (view.submitted.points, view.submitted.authors) == ((3, 4, 10, 11), "Jane Doe")
    assert view.submitted.claimed_robust_accuracy == 0.9


def test_examples_that_do_not_fit_are_invalid_input(service: Running, tmp_path: Path) -> None:
    published(service.services.db, service.services.blobs, "Method A")
    with started(service, images(tmp_path, 3), "--json") as child:
        output, errors = child.communicate(timeout=60)
    assert child.returncode == ExitCode.INVALID
    assert json.loads(output)["error"]["code"] == "invalid_examples"
    assert errors.startswith("error: ")
    assert list_externals(service.services.db, PLACE, 10) == ()
