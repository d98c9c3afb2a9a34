from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from benchmark.analysis.alignment import alignment
from benchmark.analysis.material import LeftOut
from benchmark.datasets import LabelledPoints
from benchmark.threat_models import ThreatModel
from tests.benchmark.analysis.linear import linear, points

BUDGET = ThreatModel("Linf", "1/20")


def of(model: nn.Module, n: int = 40) -> LabelledPoints:
    x = points(n)
    with torch.no_grad():
        return LabelledPoints(x, model(x).argmax(1), tuple(range(n)))


def test_between_two_classes_a_linear_model_has_one_direction() -> None:
    model = linear(2).requires_grad_(requires_grad=False)
    found = alignment(model, of(model), BUDGET)
    assert (found.points, found.zero_gradients) == (40, 0.0)
    assert found.mean == pytest.approx(1.0, abs=1e-5)
    assert found.quantile_10 == pytest.approx(1.0, abs=1e-5)


def test_behind_a_ripple_gradients_have_nothing_to_do_with_each_other() -> None:
    class Rippled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = linear()

        def forward(self, x: Tensor) -> Tensor:
            answer: Tensor = self.inner(x + 0.02 * torch.sin(1_000 * x))
            return answer

    model = Rippled().eval().requires_grad_(requires_grad=False)
    found = alignment(model, of(model), BUDGET)
    assert abs(found.mean) < 0.15
    assert found.quantile_10 <= found.median <= found.quantile_90


def test_a_model_that_is_never_right_is_left_out() -> None:
    model = linear().requires_grad_(requires_grad=False)
    right = of(model)
    wrong = LabelledPoints(right.x, (right.y + 1) % (int(right.y.max()) + 1), right.index)
    with pytest.raises(LeftOut, match="none of the points"):
        alignment(model, wrong, BUDGET)
