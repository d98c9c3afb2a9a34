from __future__ import annotations

from fractions import Fraction
from statistics import fmean

import pytest
import torch
from torch import Tensor, nn

from benchmark import datasets, evaluate
from benchmark.analysis.curve import GRID, curve
from benchmark.analysis.fairness import PROTOCOL
from benchmark.errors import InvalidInput
from benchmark.threat_models import ThreatModel, official_board
from model_zoo import load_model
from tests.benchmark.analysis.linear import distances_of, linear, points


@pytest.mark.parametrize(("norm", "dual", "epsilon"), [("Linf", 1.0, "1/20"), ("L2", 2.0, "1/8")])
def test_the_curve_of_a_linear_classifier_is_that_of_its_distances(norm: str, dual: float, epsilon: str) -> None:
    model, x = linear(), points(120)
    with torch.no_grad():
        y = model(x).argmax(1)
    y[:7] = (y[:7] + 1) % 5  # misclassified
    away = distances_of(model, x, y, dual)
    found = curve(model, x, y, ThreatModel(norm, epsilon))
    assert [at.epsilon for at in found.at] == pytest.approx([0.0] + [float(part * Fraction(epsilon)) for part in GRID])
    for at in found.at:
        # What lies within a hundredth of the budget may be either.
        least = (away > max(at.epsilon, 1e-9) * 1.01).double().mean()
        most = (away > at.epsilon * 0.99).double().mean()
        assert least <= at.robust_accuracy <= most, at
    assert found.at[0].robust_accuracy == 113 / 120
    assert found.at[-1].robust_accuracy < found.at[len(GRID) // 2].robust_accuracy < found.at[1].robust_accuracy


def test_at_the_own_budget_it_is_what_an_evaluation_finds_or_a_little_less() -> None:
    model = load_model("Digits_PGD10", dataset="digits", threat_model="Linf")
    budget = official_board("digits", "Linf").budget
    test = datasets.load("digits", "test", 100)
    found = curve(model, test.x, test.y, budget)
    accuracies = [at.robust_accuracy for at in found.at]
    assert accuracies == sorted(accuracies, reverse=True)
    alone = evaluate(model, test.x, test.y, budget, protocol=PROTOCOL, diagnostics=False).report
    own = next(at for at in found.at if at.epsilon == budget.radius)
    assert alone.robust_accuracy - 0.02 <= own.robust_accuracy <= alone.robust_accuracy
    (only,) = curve(model, test.x, test.y, budget, grid=(Fraction(1),)).at[1:]
    assert only.robust_accuracy == alone.robust_accuracy


class Counted(nn.Module):
    """A model that counts the images that it is asked about."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.images = inner, 0

    def forward(self, x: Tensor) -> Tensor:
        self.images += len(x)
        logits: Tensor = self.inner(x)
        return logits


def test_it_costs_less_than_an_evaluation_for_each_budget_and_finds_the_same() -> None:
    model = Counted(load_model("Digits_PGD10", dataset="digits", threat_model="Linf")).eval()
    budget, test = official_board("digits", "Linf").budget, datasets.load("digits", "test", 60)
    found = curve(model, test.x, test.y, budget)
    of_the_curve, model.images = model.images, 0
    alone = [curve(model, test.x, test.y, budget, grid=(part,)).at[1].robust_accuracy for part in GRID]
    assert [at.robust_accuracy for at in found.at[1:]] == pytest.approx(alone, abs=0.02)
    assert of_the_curve < 0.6 * model.images


def test_draws_belong_to_the_points() -> None:
    model = load_model("Digits_PGD10", dataset="digits", threat_model="Linf")
    budget, test = official_board("digits", "Linf").budget, datasets.load("digits", "test", 64)
    whole = curve(model, test.x, test.y, budget, grid=(Fraction(1),)).at[1]
    halves = [
        curve(model, test.x[rows], test.y[rows], budget, index=test.index[rows], grid=(Fraction(1),)).at[1]
        for rows in (slice(32), slice(32, None))
    ]
    assert fmean(half.robust_accuracy for half in halves) == whole.robust_accuracy


@pytest.mark.parametrize("grid", [(), (Fraction(0),), (Fraction(1), Fraction(1)), (Fraction(2), Fraction(1))])
def test_a_grid_ascends(grid: tuple[Fraction, ...]) -> None:
    with pytest.raises(InvalidInput, match="grid"):
        curve(linear(), points(2), torch.zeros(2, dtype=torch.int64), ThreatModel("Linf", "0.1"), grid=grid)
