from __future__ import annotations

from fractions import Fraction

import pytest
import torch

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


@pytest.mark.parametrize("grid", [(), (Fraction(0),), (Fraction(1), Fraction(1)), (Fraction(2), Fraction(1))])
def test_a_grid_ascends(grid: tuple[Fraction, ...]) -> None:
    with pytest.raises(InvalidInput, match="grid"):
        curve(linear(), points(2), torch.zeros(2, dtype=torch.int64), ThreatModel("Linf", "0.1"), grid=grid)
