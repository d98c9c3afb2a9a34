from __future__ import annotations

import pytest
import torch

from benchmark import randomness
from benchmark.attacks.base import Slots
from benchmark.attacks.square_exchange import SquareL1
from benchmark.classifier import Classifier
from benchmark.norms import L1
from tests.benchmark.models import Cnn, Shape, points

SHAPES: list[Shape] = [(1, 8, 8), (3, 6, 10), (1, 3, 4)]
EPSILON = 2.0


def _slots(x: torch.Tensor, y: torch.Tensor) -> Slots:
    index = torch.arange(len(x))
    zeros = torch.zeros_like(index)
    key = randomness.item_keys(0, "square", 0, 0, index)
    return Slots(x=x.flatten(1), y=y, target=y, key=key, restart=zeros, step=zeros.clone())


@pytest.mark.parametrize("shape", SHAPES)
def test_candidates_lie_in_ball_and_box_and_only_smaller_margins_are_kept(shape: Shape) -> None:
    attack = SquareL1(L1(), EPSILON, shape, queries=60)
    x, y = points(12, shape, 4)
    state = attack.start(_slots(x, y))
    classifier = Classifier(Cnn(shape, 4).eval(), shape, 12)
    margins = [state.margin]
    for _ in range(60):
        x_adv = attack.step(state, classifier, 12).x_adv
        assert bool((L1().distance(x_adv.double() - state.x.double()) <= EPSILON * (1 + 1e-5)).all())
        assert float(x_adv.min()) >= 0
        assert float(x_adv.max()) <= 1
        margins.append(state.margin)
    path = torch.stack(margins)
    assert bool((path[1:] <= path[:-1]).all())
    assert bool((path[-1] < path[1]).any())


@pytest.mark.parametrize("shape", SHAPES)
def test_exchange_fills_the_budget(shape: Shape) -> None:
    """Before the projection a candidate is at least as long as the budget allows, so that none of it is wasted."""
    attack = SquareL1(L1(), EPSILON, shape)
    x = points(16, shape, 2)[0].flatten(1)
    x_best = L1().confine(x, x + 0.02 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1)), EPSILON)
    key = randomness.item_keys(0, "square", 0, 0, torch.arange(16))
    draw = randomness.uniform(key, attack._numbers)
    for halvings in range(len(attack.sides)):
        delta = attack.exchange(x, x_best, draw, torch.full((16,), halvings))
        assert bool((L1().distance(delta) >= EPSILON * (1 - 1e-5)).all())


def test_window_gets_the_length_of_both_windows_and_what_is_unused() -> None:
    """One channel, so that nothing is multiplied: 1 in all, of it 0.25 outside of any window, 1 unused."""
    shape = (1, 3, 4)
    attack = SquareL1(L1(), EPSILON, shape)
    delta, windows = torch.full((1, 1, 3, 4), 1 / 12), torch.zeros(1, 1, 3, 4)
    windows[..., :3] = 1
    assert float(attack._available(delta, windows)) == pytest.approx(1 - 0.25 + 1)


def test_bumps_have_unit_length_and_fall_off_with_the_fourth_power() -> None:
    attack = SquareL1(L1(), EPSILON, (1, 9, 9))
    table = attack._bumps
    torch.testing.assert_close(table.abs().sum((1, 2)), torch.ones(len(table)))
    lower = -table[0][4:, :]
    centre = float(lower.max())
    ring = float(lower[0, 4])
    rings = [sum(k**-4 for k in range(first, 6)) for first in (1, 3)]
    assert ring / centre == pytest.approx(rings[1] / rings[0], rel=1e-4)
