"""Real evaluations, run again from nothing but their reports and the checkpoint."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

import benchmark
from benchmark import datasets
from benchmark.admission import admit
from benchmark.attacks.base import Source
from benchmark.confirmation import confirmation_check
from benchmark.ensemble import Run
from benchmark.errors import InvalidInput
from benchmark.merging import merge_reports, worst_of
from benchmark.pipeline import Evaluation, evaluate_points
from benchmark.protocols import protocol_named
from benchmark.report import EvaluationReport
from benchmark.reproduction import compare_runs
from benchmark.rerun import rerun
from benchmark.threat_models import official_board
from model_zoo import load_model

SHORT = "apgd-ce(steps=10)+fab-t(steps=4,targets=3)+square(queries=30)"
BUDGET = official_board("digits", "Linf").budget


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return load_model("Digits_PGD10", dataset="digits", threat_model="Linf")


def _run(**changes: Any) -> Run:
    values: dict[str, Any] = {"seed": 5, "width": 16, "device": torch.device("cpu"), "checkpoint_sha256": "0" * 64}
    return Run(threat_model=BUDGET, protocol=protocol_named(SHORT), **(values | changes))


def _evaluated(model: nn.Module, index: Sequence[int], run: Run, **more: Any) -> Evaluation:
    points = datasets.load("digits", "test")
    rows = list(index)
    return evaluate_points(model, points.x[rows], points.y[rows], index, run, **more)


def test_an_evaluation_is_repeated_bit_for_bit(model: nn.Module) -> None:
    points = datasets.load("digits", "test", 40)
    evaluation = benchmark.evaluate(model, points.x, points.y, BUDGET, protocol=SHORT, seed=7, batch_size=24)
    report = EvaluationReport.model_validate_json(evaluation.report.to_bytes())
    assert 0 < report.robust_accuracy < report.standard_accuracy
    again = rerun(report, model)
    found = compare_runs(report, again)
    assert found.bit_identical
    assert found.examples == "equal"
    assert again.results_sha256() == report.results_sha256()
    assert again.provenance.slot_width == 24
    flat = evaluation.x_adv.numpy().astype("<f4").tobytes()
    assert report.examples_sha256 == hashlib.sha256(flat).hexdigest()


def test_a_preview_in_lower_precision_is_repeated_too() -> None:
    weak = load_model("Digits_Standard", dataset="digits", threat_model="Linf")
    report = _evaluated(weak, range(60, 64), replace(_run(), protocol=protocol_named("mixed"))).report
    found = compare_runs(report, rerun(report, weak))
    assert (report.provenance.precision, found.bit_identical) == ("mixed", True)


def test_a_recorded_layout_that_this_machine_does_not_choose_is_told(model: nn.Module) -> None:
    report = _evaluated(model, range(8), _run()).report
    provenance = report.provenance.model_copy(update={"layout": "spiral"})
    report = report.model_copy(update={"provenance": provenance})
    found = compare_runs(report, rerun(report, model))
    assert [difference.name for difference in found.environment] == ["layout"]
    assert found.bit_identical


def test_any_points_are_repeated_under_their_own_numbers(model: nn.Module) -> None:
    report = _evaluated(model, (3, 4, 90, 91, 200, 333, 499), _run()).report
    again = rerun(report, model)
    assert again.points.index == (3, 4, 90, 91, 200, 333, 499)
    assert compare_runs(report, again).bit_identical


@pytest.mark.slow
def test_a_services_report_is_repeated_shard_by_shard_with_its_checks(model: nn.Module) -> None:
    """Cut in other blocks the passes differ, though no verdict does."""
    points = datasets.load("digits", "test", 50)
    admitted = admit(model, points, _run(), 0.9)
    blocks = [range(23), range(23, 50)]
    pieces = [_evaluated(model, block, _run()).report for block in blocks]
    of_pieces = [check for piece in pieces for check in piece.checks]
    checks = worst_of([*admitted.checks, *of_pieces, confirmation_check(50, 0)])
    merged = merge_reports(pieces, checks, policy=admitted.policy, evidence=admitted.evidence)
    report = EvaluationReport.model_validate_json(merged.to_bytes())
    found = compare_runs(report, rerun(report, model))
    assert found.bit_identical
    assert found.environment == ()
    whole = report.model_copy(update={"provenance": report.provenance.model_copy(update={"shards": None})})
    other = compare_runs(whole, rerun(whole, model))
    assert not other.bit_identical
    assert other.changed_points == ()
    assert [difference.name for difference in other.checks] == ["unconfirmed_examples"]  # of a service's shards alone
    assert {difference.name.partition(": ")[2] for difference in other.attacks} <= {"forward_passes", "backward_passes"}


def test_threads_are_those_of_the_report_and_put_back(model: nn.Module) -> None:
    report = _evaluated(model, range(8), _run()).report
    provenance = report.provenance.model_copy(update={"threads": 2})
    again = rerun(report.model_copy(update={"provenance": provenance}), model)
    assert again.provenance.threads == 2
    assert torch.get_num_threads() == 1
    assert not torch.are_deterministic_algorithms_enabled()


def test_another_model_is_found_out(model: nn.Module) -> None:
    report = _evaluated(model, range(30), _run()).report
    other = load_model("Digits_FGSM", dataset="digits", threat_model="Linf")
    found = compare_runs(report, rerun(report, other))
    assert not found.bit_identical
    assert found.environment == ()
    assert found.changed_points
    assert found.examples == "different"


def test_another_seed_is_another_result(model: nn.Module) -> None:
    report = _evaluated(model, range(30), _run()).report
    provenance = report.provenance.model_copy(update={"seed": 6})
    found = compare_runs(report, rerun(report.model_copy(update={"provenance": provenance}), model))
    assert (found.bit_identical, found.examples) == (False, "different")


@pytest.mark.parametrize(
    ("changes", "of_provenance", "field"),
    [
        ({"dataset": None}, {}, "dataset"),
        ({"dataset": "nothing"}, {}, "dataset"),
        ({"protocol": "standard-99"}, {}, "protocol"),
        ({}, {"precision": "float16"}, "precision"),
        ({}, {"device": "abacus"}, "device"),
        ({}, {"threads": 10**12}, "threads"),
        ({}, {"threads": 0}, "threads"),
        ({}, {"preprocessing": "Res512"}, "preprocessing"),
    ],
)
def test_what_cannot_be_repeated_here_is_refused(
    model: nn.Module, changes: dict[str, Any], of_provenance: dict[str, Any], field: str
) -> None:
    report = _evaluated(model, range(3), _run()).report
    provenance = report.provenance.model_copy(update=of_provenance)
    with pytest.raises(InvalidInput) as caught:
        rerun(report.model_copy(update={"provenance": provenance, **changes}), model)
    assert caught.value.detail is not None
    assert caught.value.detail.field == field


def test_examples_from_other_models_are_not_made_again_without_these(model: nn.Module) -> None:
    run = replace(_run(), protocol=protocol_named("follow-up"), sources=(Source("itself", model),))
    weak = load_model("Digits_Standard", dataset="digits", threat_model="Linf")
    report = _evaluated(weak, range(3), run).report
    assert report.attacks[0].name == "transfer"
    with pytest.raises(InvalidInput, match="sources: found a report of examples made on other models"):
        rerun(report, weak)


@pytest.mark.parametrize("column", ["index", "label"])
def test_points_that_the_data_set_does_not_have_are_refused(model: nn.Module, column: str) -> None:
    report = _evaluated(model, range(3), _run()).report
    wrong = {"index": (0, 1, 500), "label": tuple(9 - label for label in report.points.label)}[column]
    points = report.points.model_copy(update={column: wrong})
    with pytest.raises(InvalidInput, match="points"):
        rerun(report.model_copy(update={"points": points}), model)
