"""The real child on a board where nobody attacks: what it checks, counts, and goes on with after a kill."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest
from safetensors.torch import load

from benchmark import evaluate_corruptions
from benchmark.datasets import load as load_points
from benchmark.report import CheckOutcome
from benchmark.threat_models import CORRUPTIONS
from gauntlet.checking import check_submission
from model_zoo import load_model
from model_zoo.registry import bundled_checkpoint, card
from store.services import Services
from tests.worker.work import (
    children_of,
    claimed_shard,
    limits,
    must_claim,
    run,
    shard,
    stored_report,
    submission,
    submitted,
    wait_for,
)

MODEL = "Digits_PGD2"
POINTS = 60
"""At most so many in a shard."""


@pytest.mark.slow
def test_a_check_asks_what_this_board_asks_and_is_that_of_the_command_line(services: Services, tmp_path: Path) -> None:
    submitted(services, MODEL, threat_model=CORRUPTIONS)
    run(services, must_claim(services), limits(tmp_path))
    work = must_claim(services)
    view = submission(services, work)
    assert (work.kind, work.norm) == ("shard", CORRUPTIONS)
    assert all(check.outcome is CheckOutcome.PASSED for check in view.checks)
    codes = [check.code for check in view.checks]
    assert codes[-2:] == ["standard_accuracy", "predicted_cost"]
    assert view.evidence == ()
    entry = card(MODEL, "digits", CORRUPTIONS)
    local = check_submission(bundled_checkpoint(entry), "digits", CORRUPTIONS, entry.architecture)
    assert [check.code for check in local.checks] == codes


@pytest.mark.slow
def test_a_child_that_was_killed_goes_on_and_finds_what_the_library_finds(services: Services, tmp_path: Path) -> None:
    work = claimed_shard(services, MODEL, POINTS, CORRUPTIONS)
    how = limits(tmp_path, save_every_s=0.05)
    thread = threading.Thread(target=run, args=(services, work, how))
    thread.start()

    def done() -> int:
        sha256 = shard(services, work).checkpoint
        return len(load(services.blobs.read(sha256))["right"]) if sha256 else 0

    wait_for(lambda: done() > 5)
    (child,) = children_of(os.getpid())
    os.kill(child, signal.SIGKILL)
    thread.join(20)
    before = done()
    assert 5 < before < 75, "it was killed in the middle"
    again = must_claim(services)
    assert (again.shard_id, again.attempt) == (work.shard_id, 2)
    run(services, again, how)
    assert done() >= before
    report = stored_report(services, again)
    assert report.points.index == work.indices
    points = load_points("digits", "test", len(work.indices))
    model = load_model(MODEL, dataset="digits", threat_model=CORRUPTIONS)
    alone = evaluate_corruptions(model, points.x, points.y, dataset="digits", index=points.index)
    assert report.points == alone.points
    assert report.corruptions == alone.corruptions
    assert shard(services, again).x_adv_sha256 is None
