from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from benchmark import randomness
from benchmark.attacks.base import Slots
from benchmark.attacks.momentum import Momentum
from benchmark.classifier import Classifier
from benchmark.norms import L1, L2, Linf, Norm
from tests.benchmark.models import Cnn, Linear, points

SHAPE = (1, 4, 4)
NORMS: list[Norm] = [Linf(), L2(), L1()]


def _slots(restart: int = 0, n: int = 8, classes: int = 3) -> Slots:
    x, y = points(n, SHAPE, classes)
    index = torch.arange(n)
    key = randomness.item_keys(0, "mi-fgsm", restart, 0, index)
    number = torch.full_like(index, restart)
    return Slots(x=x.flatten(1), y=y, target=y, key=key, restart=number, step=torch.zeros_like(index))


def _linf_step(x: Tensor, x_adv: Tensor, momentum: Tensor, epsilon: float, length: float) -> Tensor:
    ahead = (x_adv + length * momentum.sign()).clamp(0, 1)
    return (x + (ahead - x).clamp(-epsilon, epsilon)).clamp(0, 1)


def _l2_step(x: Tensor, x_adv: Tensor, momentum: Tensor, epsilon: float, length: float) -> Tensor:
    ahead = (x_adv + length * (momentum / _lengths(momentum))).clamp(0, 1)
    return (x + (ahead - x) * (epsilon / _lengths(ahead - x).clamp_min(epsilon))).clamp(0, 1)


def _lengths(delta: Tensor) -> Tensor:
    return torch.as_tensor(torch.linalg.vector_norm(delta, dim=1, keepdim=True))


@pytest.mark.parametrize(("norm", "step"), [(Linf(), _linf_step), (L2(), _l2_step)], ids=["Linf", "L2"])
def test_iterates_are_those_of_a_loop_written_by_hand(norm: Norm, step: Callable[..., Tensor]) -> None:
    epsilon, length, decay, model = 0.2, 0.07, 0.8, Cnn(SHAPE, 3).eval()
    attack = Momentum(norm, epsilon, SHAPE, iterations=6, step_size=length, decay=decay)
    state, classifier = attack.start(_slots()), Classifier(model, SHAPE, 8)
    x, y = state.x.clone(), state.y
    x_adv, momentum = x.clone(), torch.zeros_like(x)
    for _ in range(7):
        assert torch.equal(attack.step(state, classifier, 8).x_adv, x_adv)
        leaf = x_adv.clone().requires_grad_()
        loss = torch.nn.functional.cross_entropy(model(leaf.view(8, *SHAPE)), y, reduction="sum")
        (grad,) = torch.autograd.grad(loss, leaf)
        momentum = decay * momentum + grad / grad.abs().sum(1, keepdim=True)
        x_adv = step(x, x_adv, momentum, epsilon, length)
    assert not torch.equal(x_adv, x)


@pytest.mark.parametrize("norm", NORMS, ids=lambda norm: norm.name)
def test_first_restart_begins_at_the_clean_point_and_others_on_the_surface(norm: Norm) -> None:
    attack = Momentum(norm, 0.1, SHAPE, restarts=2)
    first, second = _slots(0), _slots(1)
    for slots in (first, second):
        slots.x = torch.full_like(slots.x, 0.5)
    assert torch.equal(attack.start(first).x_adv, first.x)
    torch.testing.assert_close(norm.distance(attack.start(second).x_adv - second.x), torch.full((8,), 0.1))


def test_slots_of_both_kinds_of_start_share_a_batch() -> None:
    attack = Momentum(L2(), 0.1, SHAPE, restarts=2)
    mixed, second = _slots(1), attack.start(_slots(1))
    mixed.restart = torch.arange(8) % 2
    state = attack.start(mixed)
    assert torch.equal(state.x_adv[::2], mixed.x[::2])
    assert torch.equal(state.x_adv[1::2], second.x_adv[1::2])


@pytest.mark.parametrize("norm", NORMS, ids=lambda norm: norm.name)
def test_loss_rises_and_every_iterate_is_permitted(norm: Norm) -> None:
    attack = Momentum(norm, 0.1, SHAPE, iterations=20)
    classifier = Classifier(Linear(SHAPE, 3), SHAPE, 8)
    state = attack.start(_slots())
    values = []
    for number in range(attack.steps):
        proposal = attack.step(state, classifier, 8)
        assert proposal.done.tolist() == [number == 20] * 8
        assert bool((norm.distance(proposal.x_adv.double() - state.x.double()) <= 0.1 * (1 + 1e-5)).all())
        logits = classifier.logits(proposal.x_adv)
        values.append(float(torch.nn.functional.cross_entropy(logits, state.y)))
    assert values[-1] > values[0]
    assert classifier.backward_passes == 21 * 8


class _Gate(nn.Module):
    """Logits without slope where the first pixel is above 0.5."""

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        lead = torch.where(flat[:, :1] > 0.5, 0.0, flat.sum(1, keepdim=True))
        return torch.cat((lead, -lead), 1)


@pytest.mark.parametrize("norm", NORMS, ids=lambda norm: norm.name)
def test_momentum_carries_over_a_plateau_and_without_any_the_iterate_stays(norm: Norm) -> None:
    attack = Momentum(norm, 0.3, SHAPE, iterations=10, step_size=0.02)
    slots = _slots(classes=2)
    slots.x, slots.y = torch.full_like(slots.x, 0.49), torch.ones_like(slots.y)
    slots.x[0, 0] = 0.7
    state, classifier = attack.start(slots), Classifier(_Gate(), SHAPE, 8)
    for _ in range(4):
        attack.step(state, classifier, 8)
    assert torch.equal(state.x_adv[0], slots.x[0])
    assert bool(torch.isfinite(state.x_adv).all())
    # The loss of class 1 rises with every pixel; behind the first step there is no slope, and the steps go on.
    torch.testing.assert_close(norm.distance(state.x_adv[1:] - slots.x[1:]), torch.full((7,), 0.08))


def test_parameters_tell_the_step_size_that_was_taken() -> None:
    assert Momentum(Linf(), 0.2, SHAPE, iterations=10).parameters == {
        "loss": "ce",
        "iterations": 10,
        "step_size": pytest.approx(0.05),
        "decay": 1.0,
        "restarts": 1,
    }
    assert Momentum(Linf(), 0.2, SHAPE, step_size=0.03).parameters["step_size"] == 0.03
