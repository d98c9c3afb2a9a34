"""The protocol for models that draw at random."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from benchmark import ThreatModel, evaluate
from benchmark.classifier import Classifier
from benchmark.protocols import RAND, mean_accuracy_check
from benchmark.report import CheckOutcome
from tests.benchmark.models import Cnn, answers, points
from tests.benchmark.runs import attacked, settings

SHAPE = (1, 4, 4)


class Noisy(nn.Module):
    """Adds noise to the image, from a generator of its own, so that the test can be repeated."""

    def __init__(self, inner: nn.Module, scale: float) -> None:
        super().__init__()
        self.inner = inner
        self.scale = scale
        self.generator = torch.Generator().manual_seed(0)

    def forward(self, x: Tensor) -> Tensor:
        noise = torch.randn(x.shape, generator=self.generator)
        return torch.as_tensor(self.inner(x + self.scale * noise))


class Counting(nn.Module):
    """Logits that move with every pass: at pass k the first logit is k."""

    def __init__(self) -> None:
        super().__init__()
        self.passes = 0

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        return torch.stack((x.sum((1, 2, 3)) * self.passes, torch.zeros(len(x))), 1)


def test_gradient_value_and_logits_are_means_over_the_samples() -> None:
    classifier = Classifier(Counting(), SHAPE, 8)
    x = torch.full((8, 16), 0.5)
    found = classifier.gradient(x, lambda logits: logits[:, 0], samples=3)
    torch.testing.assert_close(found.grad, torch.full((8, 16), 2.0))
    torch.testing.assert_close(found.value, torch.full((8,), 16.0))
    torch.testing.assert_close(found.logits[:, 0], torch.full((8,), 16.0))
    assert (classifier.forward_passes, classifier.backward_passes) == (24, 24)


def test_judge_answers_with_the_mean_of_its_passes() -> None:
    model = Counting()
    classifier = Classifier(model, SHAPE, 8, passes=5)
    logits = classifier.logits_of_all(torch.full((3, 16), 0.5))
    assert model.passes == 5
    assert logits[:, 0].tolist() == [24.0] * 3
    assert classifier.forward_passes == 15


def test_rand_states_the_mean_over_its_passes_and_that_the_model_draws() -> None:
    model = Noisy(Cnn(SHAPE, 4).eval(), 0.3).eval()
    x, _ = points(12, SHAPE, 4)
    y = answers(model.inner, x)
    report = evaluate(model, x, y, ThreatModel("Linf", "0.05"), protocol="rand").report
    assert report.protocol == "rand-1"
    assert [attack.name for attack in report.attacks] == ["apgd-ce", "apgd-dlr"]
    findings = {check.code: check for check in report.checks}
    assert findings["randomized"].outcome is not CheckOutcome.PASSED
    mean = findings["mean_accuracy"]
    assert mean.outcome is CheckOutcome.FLAGGED
    assert mean.value is not None
    assert 0 <= mean.value < report.standard_accuracy
    assert "20 passes" in mean.message
    attack = report.attacks[0]
    # A point that holds costs 101 steps of 20 passes.
    assert attack.backward_passes % 20 == 0
    assert attack.backward_passes >= (attack.attacked - attack.broken) * 101 * 20


@pytest.mark.slow
def test_rand_on_a_model_that_does_not_draw_finds_no_spread() -> None:
    model = Cnn(SHAPE, 4).eval()
    x, _ = points(6, SHAPE, 4)
    report = attacked(model, x, answers(model, x), settings("L2", 0.2, RAND)).report
    (mean,) = (check for check in report.checks if check.code == "mean_accuracy")
    assert mean.outcome is CheckOutcome.PASSED
    assert mean.value == pytest.approx(report.robust_accuracy)


def test_mean_accuracy_tells_mean_lowest_and_highest() -> None:
    check = mean_accuracy_check([0.5, 0.25, 0.75, 0.5])
    assert check.value == 0.5
    assert "4 passes" in check.message
    assert "0.2500 to 0.7500" in check.message
    assert check.outcome is CheckOutcome.FLAGGED
