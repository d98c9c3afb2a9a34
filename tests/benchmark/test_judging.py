from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from benchmark.classifier import Classifier
from benchmark.judging import Judgement, judge, misclassified
from benchmark.norms import L1, L2, Linf, Norm
from benchmark.verdicts import Verdict, largest_distance
from tests.benchmark.models import points

SHAPE = (1, 2, 2)


class AlwaysOne(nn.Module):
    """Class 1 for every image, so that with label 0 only the budget decides."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tensor([[0.0, 1.0]]).expand(len(x), 2)


def _judge(x: Tensor, x_adv: Tensor, norm: Norm, epsilon: float, label: int = 0) -> Judgement:
    y = torch.full((len(x),), label)
    return judge(Classifier(AlwaysOne(), SHAPE, 8), x, y, x_adv, norm, epsilon)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf, -1e-6, 1 + 1e-6, 1.0, 0.4])
def test_unusable_examples_are_over_budget(value: float) -> None:
    x = torch.full((3, 4), 0.7)
    x_adv = x.clone()
    x_adv[1, 2] = value
    verdict = _judge(x, x_adv, Linf(), 0.2)
    assert verdict.broken.tolist() == [True, False, True]
    assert verdict.over_budget.tolist() == [False, True, False]


def test_correct_examples_break_nothing() -> None:
    x = torch.full((2, 4), 0.5)
    verdict = _judge(x, x + 0.1, Linf(), 0.2, label=1)
    assert verdict.broken.tolist() == [False, False]
    assert verdict.over_budget.tolist() == [False, False]


@pytest.mark.parametrize(("excess", "inside"), [(0.0, True), (0.9e-5, True), (1.2e-5, False), (1e-4, False)], ids=str)
@pytest.mark.parametrize("norm", [Linf(), L2()], ids=lambda norm: norm.name)
def test_tolerance_is_a_hundred_thousandth(norm: Norm, excess: float, inside: bool) -> None:
    x = torch.zeros(1, 4, dtype=torch.float64)
    x_adv = torch.zeros(1, 4, dtype=torch.float64)
    x_adv[0, 1] = 0.5 * (1 + excess)
    verdict = _judge(x, x_adv, norm, 0.5)
    assert verdict.broken.tolist() == [inside]
    assert verdict.distance.dtype == torch.float64
    assert verdict.distance.tolist() == [pytest.approx(0.5 * (1 + excess), rel=1e-12)]


@pytest.mark.parametrize("norm", [Linf(), L2(), L1()], ids=lambda norm: norm.name)
def test_the_boundary_of_the_budget_is_exact_in_float64(norm: Norm) -> None:
    limit = 0.25 * (1 + 1e-5) + 1e-7
    assert largest_distance(0.25) == limit
    x = torch.zeros(2, 4, dtype=torch.float64)
    x_adv = x.clone()
    x_adv[:, 1] = torch.tensor([limit, math.nextafter(limit, 1)], dtype=torch.float64)
    verdict = _judge(x, x_adv, norm, 0.25)
    assert verdict.distance.tolist() == [limit, math.nextafter(limit, 1)]
    assert verdict.within_budget.tolist() == [True, False]
    assert verdict.verdicts == (Verdict.HOLDS, Verdict.OVER_BUDGET)


@pytest.mark.parametrize("label", [0, 1])
def test_of_several_flaws_the_first_is_the_verdict(label: int) -> None:
    x = torch.full((6, 4), 0.9)
    x_adv = x.clone()
    x_adv[1] = torch.tensor([torch.nan, 2.0, 0.0, 0.9])
    x_adv[2] = torch.tensor([torch.inf, 0.9, 0.9, 0.9])
    x_adv[3] = torch.tensor([2.0, 0.9, 0.0, 0.9])
    x_adv[4] = torch.tensor([-1e-6, 0.9, 0.9, 0.9])
    x_adv[5] = torch.tensor([0.0, 0.9, 0.9, 0.9])
    verdict = _judge(x, x_adv, Linf(), 0.2, label)
    last = Verdict.CLASSIFIED_CORRECTLY if label == 1 else Verdict.HOLDS
    beyond = (Verdict.NOT_FINITE, Verdict.NOT_FINITE, Verdict.OUTSIDE_BOX, Verdict.OUTSIDE_BOX, Verdict.OVER_BUDGET)
    assert verdict.verdicts == (last, *beyond)
    assert verdict.over_budget.tolist() == [False, True, True, True, True, True]
    assert verdict.broken.tolist() == [found is Verdict.HOLDS for found in verdict.verdicts]


@pytest.mark.parametrize("epsilon", [8 / 255, 4 / 255, 0.3, 1e-4, 1 / 2550])
def test_float32_clamp_of_the_surface_is_accepted(epsilon: float) -> None:
    x = points(4000, SHAPE, 2)[0].flatten(1)
    sign = torch.where(points(4000, SHAPE, 2, seed=1)[0].flatten(1) < 0.5, -1.0, 1.0)
    verdict = _judge(x, (x + epsilon * sign).clamp(0, 1), Linf(), epsilon)
    assert not bool(verdict.over_budget.any())
    assert bool(verdict.broken.all())


@pytest.mark.parametrize("norm", [Linf(), L2()], ids=lambda norm: norm.name)
def test_twice_the_budget_is_refused(norm: Norm) -> None:
    x = torch.full((1, 4), 0.5)
    delta = torch.tensor([[0.2, 0.0, 0.0, 0.0]])
    assert bool(_judge(x, x + delta, norm, 0.1).over_budget.all())
    assert bool(_judge(x, x + delta / 2, norm, 0.1).broken.all())


def test_answers_that_are_not_finite_are_wrong() -> None:
    logits = torch.tensor([[1.0, 0.0], [0.0, 1.0], [torch.nan, 0.0], [torch.inf, 0.0], [1.0, -torch.inf]])
    assert misclassified(logits, torch.zeros(5, dtype=torch.int64)).tolist() == [False, True, True, True, True]


def test_judge_counts_its_own_passes_only() -> None:
    classifier = Classifier(AlwaysOne(), SHAPE, 8)
    x = torch.full((11, 4), 0.5)
    judge(classifier, x, torch.zeros(11, dtype=torch.int64), x, Linf(), 0.1)
    assert classifier.forward_passes == 11
    assert classifier.rows_run == 16
