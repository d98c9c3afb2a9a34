from __future__ import annotations

import pytest
import torch

from benchmark import datasets
from benchmark.analysis.curve import curve
from benchmark.analysis.distances import distances
from benchmark.threat_models import official_board
from model_zoo import load_model
from tests.benchmark.analysis.linear import distances_of, linear, points


@pytest.mark.parametrize(("norm", "dual"), [("Linf", 1.0), ("L2", 2.0), ("L1", float("inf"))])
def test_the_distances_of_a_linear_classifier_are_known(norm: str, dual: float) -> None:
    model, x = linear(), points(60)
    with torch.no_grad():
        y = model(x).argmax(1)
    y[:5] = (y[:5] + 1) % 5  # misclassified
    known = distances_of(model, x, y, dual).tolist()
    found = distances(model, x, y, norm)
    assert found.found == found.points == 60
    assert found.distances[:5] == (0.0,) * 5
    for length, true in zip(found.distances, known, strict=True):
        assert length is not None
        assert length >= true * (1 - 1e-4), "an example that is closer than the boundary"
        assert length <= true * 1.01 + 1e-6
    ordered = sorted(length for length in found.distances if length is not None)
    assert (found.quantile_10, found.median, found.quantile_90) == (ordered[6], ordered[30], ordered[53])


def test_what_has_no_example_has_no_distance() -> None:
    class Constant(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.tensor([1.0, 0.0, 0.0]).expand(len(x), 3) + 0 * x.flatten(1)[:, :1]

    found = distances(Constant(), points(4), torch.zeros(4, dtype=torch.int64), "Linf", iterations=3)
    assert (found.found, found.median, found.distances) == (0, None, (None,) * 4)


@pytest.mark.slow
def test_it_agrees_with_attacks_within_a_budget_and_does_not_depend_on_the_width() -> None:
    model = load_model("Digits_PGD10", dataset="digits", threat_model="Linf")
    test = datasets.load("digits", "test", 48)
    found = distances(model, test.x, test.y, "Linf")
    for at in curve(model, test.x, test.y, official_board("digits", "Linf").budget).at:
        farther = sum(length is None or length > at.epsilon for length in found.distances) / 48
        if at.epsilon:
            assert abs(farther - at.robust_accuracy) <= 0.07
    other = distances(model, test.x, test.y, "Linf", width=16)
    assert other.median == pytest.approx(found.median, abs=2e-3)
