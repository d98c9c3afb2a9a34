"""Networks trained in Linf and attacked in L2: their gradients mislead, and what ours finds there must not be less."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from bench.fidelity import reference_survivors
from benchmark import ThreatModel, datasets, evaluate
from benchmark.report import CheckOutcome, EvaluationReport
from model_zoo import load_model

POINTS = 200
BUDGET = ThreatModel("L2", "4/5", "digits")

pytestmark = [pytest.mark.differential, pytest.mark.timeout(1800)]


@dataclass(frozen=True)
class Case:
    """A model, points, and the standard ensemble's report on them."""

    model: nn.Module
    x: Tensor
    y: Tensor
    report: EvaluationReport

    def robust_accuracy(self, protocol: str) -> float:
        return evaluate(self.model, self.x, self.y, BUDGET, protocol=protocol, diagnostics=False).report.robust_accuracy


@pytest.fixture(scope="module", params=["Digits_PGD2", "Digits_PGD10"])
def case(request: pytest.FixtureRequest) -> Case:
    torch.set_num_threads(1)
    model = load_model(request.param, dataset="digits", threat_model="Linf").requires_grad_(False)
    data = datasets.load("digits", "test", POINTS)
    return Case(model, data.x, data.y, evaluate(model, data.x, data.y, BUDGET, diagnostics=False).report)


def test_attacks_that_follow_the_loss_stall_where_fab_and_square_go_on(case: Case) -> None:
    report = case.report
    ce, targeted, _, _ = report.attacks
    assert (ce.name, targeted.name) == ("apgd-ce", "apgd-t")
    stalled = targeted.robust_accuracy_after
    assert stalled >= report.robust_accuracy + 0.05
    for other in ("fab-t", "square"):
        assert case.robust_accuracy(other) <= stalled - 0.02, other


def test_ours_goes_at_least_as_low_as_the_reference(case: Case) -> None:
    reference = reference_survivors(case.model, case.x, case.y, BUDGET, "ensemble", 0)
    assert sum(case.report.points.robust) <= int(reference.sum())


def test_square_tells_that_the_gradients_may_be_masked(case: Case) -> None:
    report = case.report
    (finding,) = (check for check in report.findings if check.code == "square_helps")
    square = report.attacks[-1]
    assert square.name == "square"
    assert 1000 * square.broken > 2 * POINTS
    assert finding.outcome is CheckOutcome.FLAGGED
    assert finding.value == square.broken / POINTS
    assert finding.message.startswith(f"Square broke {square.broken} of {POINTS} points")
    assert "masked" in finding.remedy
