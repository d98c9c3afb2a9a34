from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from benchmark.analysis.privacy import membership
from benchmark.errors import InvalidInput


def logits_of(confidence: list[float]) -> tuple[Tensor, Tensor]:
    """Logits of two classes with these probabilities of the true one, which is the second."""
    sure = torch.tensor(confidence, dtype=torch.float64)
    return torch.stack((torch.zeros_like(sure), torch.log(sure / (1 - sure))), 1), torch.ones(len(sure)).long()


def guessed(members: list[float], others: list[float]) -> float:
    (a, y_a), (b, y_b) = logits_of(members), logits_of(others)
    return membership(a, b, y_a, y_b).by_confidence


def test_in_closed_form() -> None:
    (a, y_a), (b, y_b) = logits_of([0.9, 0.8, 0.6]), logits_of([0.7, 0.4])
    found = membership(a, b, y_a, y_b)
    assert (found.members, found.others) == (3, 2)
    # At 0.8 two thirds of the members and none of the others are above; at 0.6 all and one half.
    assert found.by_confidence == pytest.approx((1 + 2 / 3) / 2)
    assert found.threshold == pytest.approx(0.8)
    # All members and one of two others are right.
    assert found.by_label == pytest.approx(0.75)


def test_the_extremes() -> None:
    assert guessed([0.9, 0.8], [0.2, 0.1]) == 1
    assert guessed([0.2, 0.1], [0.9, 0.8]) == 0.5, "whoever takes everybody for trained on is right half the time"
    assert guessed([0.5] * 3, [0.5] * 5) == 0.5


@given(
    st.lists(st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9]), min_size=1, max_size=20),
    st.lists(st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9]), min_size=1, max_size=20),
)
def test_no_threshold_is_better(members: list[float], others: list[float]) -> None:
    found = guessed(members, others)
    tried = [
        (np.mean(np.array(members) >= at) + np.mean(np.array(others) < at)) / 2 for at in (0, 0.2, 0.4, 0.6, 0.8, 1)
    ]
    assert found == pytest.approx(max(tried))


def test_a_network_that_has_learnt_random_labels_by_heart_tells_all() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(400, 64, generator=generator), torch.randint(10, (400,), generator=generator)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))
    fresh = model(x).detach()
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(150):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x[:200]), y[:200]).backward()
        optimiser.step()
    learnt = model(x).detach()
    found = membership(learnt[:200], learnt[200:], y[:200], y[200:])
    assert found.by_confidence > 0.9
    assert found.by_label > 0.85
    before = membership(fresh[:200], fresh[200:], y[:200], y[200:])
    assert before.by_confidence < 0.6
    assert abs(before.by_label - 0.5) < 0.05


@pytest.mark.parametrize(("members", "others", "field"), [(0, 3, "members"), (3, 0, "others")])
def test_points_of_one_kind_alone_are_refused(members: int, others: int, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        membership(
            torch.zeros(members, 2), torch.zeros(others, 2), torch.zeros(members).long(), torch.zeros(others).long()
        )
    assert caught.value.detail is not None
    assert caught.value.detail.field == field
