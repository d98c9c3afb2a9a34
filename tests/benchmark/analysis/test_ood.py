from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from benchmark.analysis.calibration import maximum_confidence
from benchmark.analysis.ood import auroc
from benchmark.errors import InvalidInput

SCORES = st.lists(st.sampled_from([0.1, 0.2, 0.2000001, 0.5, 0.9, 1.0]), min_size=1, max_size=30)


@given(SCORES, SCORES)
def test_is_scikit_learn_s(inside: list[float], outside: list[float]) -> None:
    expected = roc_auc_score([1] * len(inside) + [0] * len(outside), inside + outside)
    found = auroc(torch.tensor(inside, dtype=torch.float64), torch.tensor(outside, dtype=torch.float64))
    assert found == pytest.approx(expected)


def test_in_closed_form() -> None:
    assert auroc(torch.tensor([0.9, 0.8]), torch.tensor([0.1, 0.2, 0.3])) == 1
    assert auroc(torch.tensor([0.1]), torch.tensor([0.9])) == 0
    assert auroc(torch.tensor([0.5, 0.5]), torch.tensor([0.5])) == 0.5


def test_the_score_is_the_greatest_probability() -> None:
    found = maximum_confidence(torch.tensor([[0.0, 0.0], [torch.log(torch.tensor(3.0)), 0.0], [1e30, 0.0]]))
    assert found.tolist() == pytest.approx([0.5, 0.75, 1.0])


@pytest.mark.parametrize(("inside", "outside", "field"), [([], [0.1], "inside"), ([0.1], [float("nan")], "outside")])
def test_nothing_to_compare_is_refused(inside: list[float], outside: list[float], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        auroc(torch.tensor(inside), torch.tensor(outside))
    assert caught.value.detail is not None
    assert caught.value.detail.field == field
