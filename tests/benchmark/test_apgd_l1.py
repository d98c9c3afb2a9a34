from __future__ import annotations

import pytest
import torch

from benchmark import randomness
from benchmark.attacks.apgd_l1 import ApgdL1, ApgdL1Slots
from benchmark.attacks.base import Slots
from benchmark.classifier import Classifier, Gradient
from benchmark.norms import L1
from tests.benchmark.models import Cnn, Linear, points

SHAPE = (1, 4, 4)
CPU = torch.device("cpu")
EPSILON = 0.5


def _begin(n: int = 8, iterations: int = 100, radii: tuple[float, ...] = (3, 2, 1)) -> tuple[ApgdL1, ApgdL1Slots]:
    attack = ApgdL1(L1(), EPSILON, SHAPE, loss="ce", iterations=iterations, radii=radii)
    x, y = points(n, SHAPE, 3)
    index = torch.arange(n)
    key = randomness.item_keys(0, "apgd-ce", 0, 0, index)
    zeros = torch.zeros_like(index)
    return attack, attack.start(Slots(x=x.flatten(1), y=y, target=y, key=key, restart=zeros, step=zeros.clone()))


def test_iterations_are_shared_among_the_radii() -> None:
    attack, _ = _begin()
    assert attack.steps == 31 + 31 + 41
    assert [float(radius) for radius in attack.schedule(CPU).radius.unique()] == [0.5, 1.0, 1.5]
    assert torch.nonzero(attack.schedule(CPU).first).flatten().tolist() == [0, 31, 62]
    assert torch.nonzero(attack.schedule(CPU).last).flatten().tolist() == [30, 61, 102]
    # 4 % of 30 and of 40 iterations is one.
    assert torch.equal(attack.schedule(CPU).checkpoint, ~attack.schedule(CPU).first)


def test_one_radius_has_a_checkpoint_every_4_iterations_and_starts_with_a_fifth_of_the_pixels() -> None:
    attack, state = _begin(radii=(1.0,))
    assert attack.steps == 101
    assert torch.nonzero(attack.schedule(CPU).checkpoint).flatten().tolist() == list(range(4, 101, 4))
    assert state.share.tolist() == pytest.approx([0.2] * 8)
    assert state.changed.tolist() == [16] * 8


@pytest.mark.parametrize("iterations", [1, 2, 3, 10])
def test_few_iterations_leave_each_radius_at_least_one(iterations: int) -> None:
    attack, _ = _begin(iterations=iterations)
    assert int(attack.schedule(CPU).first.sum()) == 3
    assert attack.steps >= 6


@pytest.mark.parametrize("radii", [(3.0, 2.0, 1.0), (1.0,)])
def test_every_iterate_is_within_the_radius_in_force_and_claims_wait_for_the_last(radii: tuple[float, ...]) -> None:
    attack, state = _begin(radii=radii)
    state.y = (state.y + 1) % 3
    classifier = Classifier(Cnn(SHAPE, 3).eval(), SHAPE, 8)
    claims = 0
    for number in range(attack.steps):
        radius = float(attack.schedule(CPU).radius[number])
        proposal = attack.step(state, classifier, 8)
        assert bool((L1().distance(proposal.x_adv.double() - state.x.double()) <= radius * (1 + 1e-5)).all())
        assert float(proposal.x_adv.min()) >= 0
        assert float(proposal.x_adv.max()) <= 1
        assert proposal.done.tolist() == [number == attack.steps - 1] * 8
        if radius > EPSILON:
            assert not bool(proposal.broken.any())
        claims += int(proposal.broken.sum())
        low, high = radius / 10 * (1 - 1e-6), float(attack.schedule(CPU).following[number]) * (1 + 1e-6)
        assert bool(((state.step_size >= low * (1 if radius == high else 0.5)) & (state.step_size <= high)).all())
    assert claims > 0
    assert (classifier.forward_passes, classifier.backward_passes) == (attack.steps * 8, attack.steps * 8)


class _Scripted(Classifier):
    """Answers every pass with the same gradient and with a loss of the test's choice."""

    def __init__(self, grad: torch.Tensor, loss: list[float]) -> None:
        super().__init__(Linear(SHAPE, 3), SHAPE, 8)
        self._grad = grad
        self._loss = iter(loss)

    def gradient(self, x: torch.Tensor, objective: object, live: int | None = None, samples: int = 1) -> Gradient:
        n = len(x)
        return Gradient(torch.zeros(n, 3), torch.full((n,), next(self._loss)), self._grad.expand(n, -1))


def test_step_goes_along_the_steepest_fifth_of_the_pixels() -> None:
    attack, state = _begin(n=1, radii=(1.0,))
    state.x = torch.full((1, 16), 0.5)
    state.x_adv = state.x.clone()
    grad = torch.zeros(1, 16)
    grad[0, [3, 5, 9, 12]] = torch.tensor([1.0, -2.0, 3.0, -4.0])
    attack.step(state, _Scripted(grad, [1.0]), 1)
    # The reference's rank: the pixel at (1 - 0.2) · 16, rounded down, in ascending order, and all above it.
    expected = torch.zeros(1, 16)
    expected[0, [3, 5, 9, 12]] = torch.tensor([1.0, -1.0, 1.0, -1.0]) * EPSILON / 4
    torch.testing.assert_close(state.x_adv - state.x, expected)


def test_step_size_is_reset_where_the_best_point_got_sparser_and_shrinks_elsewhere() -> None:
    attack, state = _begin(n=2, radii=(1.0,))
    state.x = torch.full((2, 16), 0.5)
    state.step = torch.full((2,), 4)
    state.loss_best = torch.full((2,), 9.0)
    state.changed = torch.tensor([8.0, 4.0])
    state.step_size = torch.full((2,), 0.3)
    best = state.x.clone()
    best[:, :4] += 0.1
    state.x_best, state.x_adv = best, state.x + 0.01
    state.grad_best = torch.eye(16)[0].expand(2, -1).clone()
    elsewhere = torch.eye(16)[15:16]
    attack.step(state, _Scripted(elsewhere, [1.0]), 2)
    assert state.step_size.tolist() == pytest.approx([EPSILON, 0.3 / 1.5])
    assert state.share.tolist() == pytest.approx([4 / 16 / 1.5] * 2)
    assert state.changed.tolist() == [4, 4]
    # The first goes on from its best point along the gradient there, the second from where it is.
    assert float(state.x_adv[0, 0] - state.x[0, 0]) > 0.2
    assert float(state.x_adv[0, 15]) == pytest.approx(0.5)
    assert float(state.x_adv[1, 15] - state.x[1, 15]) > 0.1


def test_next_radius_starts_at_the_best_point_projected() -> None:
    attack, state = _begin(n=2)
    state.x = torch.full((2, 16), 0.5)
    state.step = torch.full((2,), 30)
    state.loss_best = torch.full((2,), 9.0)
    state.x_best = state.x.clone()
    state.x_best[:, 2:5] += 0.4
    state.x_adv = state.x.clone()
    attack.step(state, _Scripted(torch.ones(1, 16), [1.0]), 2)
    torch.testing.assert_close(state.x_adv, L1().confine(state.x, state.x_best, 2 * EPSILON))
    assert state.step_size.tolist() == [2 * EPSILON] * 2
    assert state.changed.tolist() == [3, 3]
    # Whatever was best at the larger radius does not count at the smaller one.
    attack.step(state, _Scripted(torch.ones(1, 16), [0.5]), 2)
    assert state.loss_best.tolist() == [0.5, 0.5]
