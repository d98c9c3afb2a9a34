"""What the diagnostics look at: points, budgets, gradients and random perturbations."""

from __future__ import annotations

import pytest
import torch

from benchmark.classifier import frozen
from benchmark.diagnostics.draws import KINDS, random_points
from benchmark.diagnostics.reading import least_share
from benchmark.norms import norm_named
from benchmark.threat_models import ThreatModel
from tests.benchmark.diagnosed import LITTLE, SHAPE, digital_blobs, sample_of
from tests.benchmark.models import Cnn, Robust, answers, points


def test_only_points_that_are_classified_correctly_are_looked_at(blob_model: Cnn) -> None:
    x, y = digital_blobs(300)
    wrong = torch.arange(300) % 3 == 0
    y = torch.where(wrong, (answers(blob_model, x) + 1) % 4, answers(blob_model, x))
    with frozen(blob_model):
        sample = sample_of(blob_model, x, y, LITTLE)
    expected = torch.nonzero(~wrong).flatten()[:64]
    assert sample.index == tuple(expected.tolist())
    assert torch.equal(sample.x, x[expected])
    assert torch.equal(sample.y, y[expected])


def test_gradients_do_not_depend_on_the_width(blob_model: Cnn) -> None:
    x, y = digital_blobs(40)
    with frozen(blob_model):
        wide, narrow = sample_of(blob_model, x, y, LITTLE), sample_of(blob_model, x, y, LITTLE, width=16)
        torch.testing.assert_close(wide.gradients(wide.flat), narrow.gradients(narrow.flat), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("norm_and_epsilon", [("Linf", "1/10"), ("L2", "1/2"), ("L1", "1/2")])
def test_random_points_lie_within_budget_and_box_and_belong_to_their_point(
    norm_and_epsilon: tuple[str, str], kind: str
) -> None:
    budget = ThreatModel(*norm_and_epsilon)
    x = torch.full((20, *SHAPE), 0.5)
    model = Robust(SHAPE, 4)
    sample = sample_of(model, x, torch.zeros(20, dtype=torch.int64), budget)
    drawn = random_points(sample, torch.arange(20), kind, "a test", 0)
    distance = norm_named(budget.norm).distance(drawn - sample.flat)
    assert float(distance.max()) <= budget.radius * (1 + 1e-5)
    assert float(drawn.min()) >= 0
    assert float(drawn.max()) <= 1
    if kind == "inside":
        assert float(distance.std()) > 0
    else:
        torch.testing.assert_close(distance, torch.full_like(distance, budget.radius))
    assert torch.equal(drawn[7:9], random_points(sample, torch.tensor([7, 8]), kind, "a test", 0))
    assert not torch.equal(drawn, random_points(sample, torch.arange(20), kind, "a test", 1))
    assert not torch.equal(drawn, random_points(sample, torch.arange(20), kind, "another", 0))


@pytest.mark.parametrize(("norm", "diagonal"), [("Linf", 1), ("L2", 8), ("L1", 64)])
def test_larger_budgets_end_with_the_box(norm: str, diagonal: int) -> None:
    x, y = points(8, SHAPE, 1)
    sample = sample_of(Robust(SHAPE, 4), x, y, ThreatModel(norm, "1/3"))
    assert sample.covering == ThreatModel(norm, diagonal)
    assert sample.enlarged(2) == ThreatModel(norm, "2/3")
    assert sample.enlarged(1_000) == sample.covering


def test_a_single_point_is_never_enough() -> None:
    assert least_share(64) == pytest.approx(2 / 64)
    assert least_share(100) == pytest.approx(0.03)
    assert all(1 / n < least_share(n) <= 2 / n for n in range(8, 65))
    assert least_share(64, 0.06) == pytest.approx(0.06)
