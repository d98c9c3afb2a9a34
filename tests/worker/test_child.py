"""The real child: what it finds in models, what it gives up before it looks at one, and how it goes on after a kill."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save

import benchmark
from benchmark.report import CheckOutcome, EvaluationReport
from benchmark.threat_models import official_board
from model_zoo.registry import bundled_checkpoint, card
from store.claims import Claim
from store.services import Services
from store.submissions import cancel
from store.views import State
from tests.worker.work import (
    OPEN,
    alive,
    children_of,
    claimed_shard,
    copied,
    limits,
    must_claim,
    opened,
    run,
    shard,
    stored_report,
    submission,
    submitted,
    wait_for,
)
from worker.child import work as work_of_child
from worker.messages import Request
from worker.process import COMMAND

ROBUST = "Digits_PGD10"
POINTS = 10
"""The first points of the board: a few survive every attack, so that each attack has work to do."""


def weights(model: str = "Digits_Standard") -> dict[str, torch.Tensor]:
    return load(bundled_checkpoint(card(model, "digits", "Linf")).read_bytes())


@pytest.mark.slow
def test_an_honest_model_passes_its_check(services: Services, tmp_path: Path) -> None:
    view = submitted(services)
    run(services, must_claim(services), limits(tmp_path))
    work = must_claim(services)
    assert (work.kind, work.submission_id, work.first, work.last) == ("shard", view.id, 0, 250)
    checks = {check.code: check for check in submission(services, work).checks}
    assert {"zero_gradient", "randomized", "standard_accuracy", "short_attack", "predicted_cost"} <= checks.keys()
    assert all(check.outcome is CheckOutcome.PASSED for check in checks.values())
    assert checks["standard_accuracy"].value == pytest.approx(492 / 500)


def test_a_model_of_zeros_is_rejected_for_its_gradients(services: Services, tmp_path: Path) -> None:
    submitted(services, content=save({name: torch.zeros_like(tensor) for name, tensor in weights().items()}))
    work = must_claim(services)
    run(services, work, limits(tmp_path))
    view = submission(services, work)
    assert (view.state, view.fault, view.reason) == (State.REJECTED, "model", "zero_gradient")
    (finding,) = [check for check in view.checks if check.outcome is CheckOutcome.REJECTED]
    assert finding.value == 1
    assert finding.remedy


def without_a_key() -> dict[str, torch.Tensor]:
    return dict(list(weights().items())[1:])


def with_nan() -> dict[str, torch.Tensor]:
    return {name: tensor * torch.nan if tensor.is_floating_point() else tensor for name, tensor in weights().items()}


@pytest.mark.parametrize(("content", "found"), [(without_a_key, "1 missing"), (with_nan, "NaN")])
def test_a_checkpoint_that_does_not_fit_is_rejected_with_what_was_found(
    services: Services, tmp_path: Path, content: Callable[[], dict[str, torch.Tensor]], found: str
) -> None:
    submitted(services, content=save(content()))
    work = must_claim(services)
    run(services, work, limits(tmp_path))
    view = submission(services, work)
    assert (view.state, view.reason) == (State.REJECTED, "invalid_checkpoint")
    (finding,) = view.checks
    assert found in finding.message
    assert "expected" in finding.message
    assert finding.remedy
    assert str(tmp_path) not in finding.message


@pytest.mark.slow
@pytest.mark.parametrize(("attack", "done"), [("fab-t", 2), ("square", 3)])
def test_a_child_killed_in_the_middle_of_an_attack_changes_no_result(
    services: Services, tmp_path: Path, attack: str, done: int, undisturbed: tuple[EvaluationReport, bytes]
) -> None:
    work = claimed_shard(services, ROBUST, POINTS)
    how = limits(tmp_path, save_every_s=0.1)
    thread = threading.Thread(target=run, args=(services, work, how))
    thread.start()
    wait_for(lambda: in_the_middle(newest_snapshot(services, work), done))
    (child,) = children_of(os.getpid())
    os.kill(child, signal.SIGKILL)
    thread.join(20)
    assert submission(services, work).state is State.RUNNING
    again = must_claim(services)
    assert (again.shard_id, again.attempt) == (work.shard_id, 2)
    thread = threading.Thread(target=run, args=(services, again, how))
    thread.start()
    while thread.is_alive():
        assert attacks_done(newest_snapshot(services, again)) >= done, "what was done is done again"
        thread.join(0.02)
    report = stored_report(services, again)
    assert report.attacks[done].name == attack
    assert report.results_sha256() == undisturbed[0].results_sha256()
    examples = shard(services, again).x_adv_sha256
    assert examples is not None
    assert services.blobs.read(examples) == undisturbed[1]


@pytest.mark.slow
def test_a_submission_cancelled_in_the_middle_of_an_attack_ends_its_child(services: Services, tmp_path: Path) -> None:
    work = claimed_shard(services, ROBUST)
    thread = threading.Thread(target=run, args=(services, work, limits(tmp_path, save_every_s=0.1)))
    thread.start()
    wait_for(lambda: in_the_middle(newest_snapshot(services, work), 0))
    (child,) = children_of(os.getpid())
    cancel(services.db, work.submission_id)
    cancelled = time.monotonic()
    thread.join(20)
    assert not thread.is_alive()
    assert time.monotonic() - cancelled < 5
    assert not alive(child)
    view = submission(services, work)
    assert (view.state, shard(services, work).report_sha256) == (State.CANCELLED, None)
    assert view.progress.forward_passes > 0
    assert view.progress.points_done < 500


def newest_snapshot(services: Services, work: Claim) -> dict[str, torch.Tensor]:
    sha256 = shard(services, work).checkpoint
    return load(services.blobs.read(sha256)) if sha256 else {}


def attacks_done(snapshot: dict[str, torch.Tensor]) -> int:
    return len(snapshot["counts"])


def in_the_middle(snapshot: dict[str, torch.Tensor], done: int) -> bool:
    """Whether it was taken during the attack after that many others, some steps on."""
    return bool(snapshot) and attacks_done(snapshot) == done and int(snapshot["engine.slot.step"].max()) > 5


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> tuple[EvaluationReport, bytes]:
    """Report and examples of the same evaluation, run through in one go and without any snapshot but one per attack."""
    path = tmp_path_factory.mktemp("undisturbed")
    with opened(path, copied(migrated, path)) as services:
        work = claimed_shard(services, ROBUST, POINTS)
        run(services, work, limits(path))
        report = stored_report(services, work)
        assert report.n_points == POINTS
        assert all(attack.attacked for attack in report.attacks)
        examples = shard(services, work).x_adv_sha256
        assert examples is not None
        return report, services.blobs.read(examples)


def test_a_snapshot_of_another_run_is_not_taken_up(services: Services, tmp_path: Path) -> None:
    work = claimed_shard(services, "Digits_Standard", 20)
    foreign = services.blobs.put(save({"x_adv": torch.zeros(1)}, metadata={"run": "another"}))
    run(services, work.model_copy(update={"resume_sha256": foreign}), limits(tmp_path))
    assert stored_report(services, work).n_points == 20


def test_a_snapshot_of_another_program_is_not_taken_up(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an update the state may have other fields, or fields of another meaning."""
    request = check_request(os.getpid())
    before = work_of_child._identity(request)
    assert work_of_child._identity(request) == before
    updated = tmp_path / "benchmark"
    shutil.copytree(Path(benchmark.__file__).parent, updated)
    (updated / "engine.py").write_text("# updated", encoding="utf-8")
    monkeypatch.setattr(benchmark, "__file__", str(updated / "__init__.py"))
    assert work_of_child._identity(request) != before


def test_a_child_whose_parent_is_gone_does_nothing(tmp_path: Path) -> None:
    done = ask(tmp_path, parent=1)
    assert done.returncode == 1
    assert done.stdout == b""
    assert b"The parent is gone." in done.stderr


def test_nothing_but_messages_reaches_the_parents_pipe(tmp_path: Path) -> None:
    """The model's file is missing: the traceback belongs to stderr, and the message names no path."""
    done = ask(tmp_path, parent=os.getpid())
    (line,) = done.stdout.splitlines()
    assert b'"type":"failed"' in line
    assert b'"fault":"service"' in line
    assert str(tmp_path).encode() not in line
    assert b"Traceback" in done.stderr


def check_request(parent: int) -> Request:
    board = official_board("digits", "Linf")
    confinement = OPEN.confinement("cpu", 60).model_copy(update={"parent": parent})
    return Request(
        kind="check", confinement=confinement, architecture="digits_cnn", dataset="digits", norm=board.budget.norm,
        epsilon=str(board.epsilon), protocol="standard", seed=0, indices=tuple(range(500)), unannounced=None,
        unannounced_points=0, sources=(), examples=(), checkpoint_sha256="0" * 64,
        claimed_standard_accuracy=None, resume=False, slot_width=64, threads=1, save_every_s=60,
        limit_s=60, data_dir=None,
    )  # fmt: skip


def ask(scratch: Path, parent: int) -> subprocess.CompletedProcess[bytes]:
    line = check_request(parent).model_dump_json().encode() + b"\n"
    return subprocess.run(COMMAND, input=line, cwd=scratch, capture_output=True, check=False, timeout=60)
