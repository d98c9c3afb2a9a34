from __future__ import annotations

import pytest
import torch

from benchmark import randomness
from benchmark.attacks.base import Slots
from benchmark.attacks.pgd import Fgsm, MultiTargeted, Pgd
from benchmark.classifier import Classifier
from benchmark.norms import L1, L2, Linf, Norm
from tests.benchmark.models import Cnn, Linear, answers, points

SHAPE = (1, 4, 4)
NORMS: list[Norm] = [Linf(), L2(), L1()]


def _slots(n: int = 8, classes: int = 3) -> Slots:
    x, y = points(n, SHAPE, classes)
    index = torch.arange(n)
    zeros = torch.zeros_like(index)
    key = randomness.item_keys(0, "pgd", 0, 0, index)
    return Slots(x=x.flatten(1), y=y, target=(y + 1) % classes, key=key, restart=zeros, step=zeros.clone())


def test_step_size_is_as_asked_or_crosses_the_ball_two_and_a_half_times() -> None:
    assert Pgd(Linf(), 0.2, SHAPE, iterations=10).parameters["step_size"] == pytest.approx(0.05)
    assert Pgd(Linf(), 0.2, SHAPE, iterations=10, step_size=0.03).parameters["step_size"] == 0.03


def test_linf_step_is_the_sign_of_the_gradient() -> None:
    attack, model = Pgd(Linf(), 0.1, SHAPE, iterations=5, step_size=0.01), Linear(SHAPE, 3)
    state = attack.start(_slots())
    before = state.x_adv.clone().requires_grad_()
    (grad,) = torch.autograd.grad(torch.nn.functional.cross_entropy(model(before), state.y, reduction="sum"), before)
    expected = (before.detach() + 0.01 * grad.sign()).clamp(state.x - 0.1, state.x + 0.1).clamp(0, 1)
    attack.step(state, Classifier(model, SHAPE, 8), 8)
    torch.testing.assert_close(state.x_adv, expected)


@pytest.mark.parametrize("norm", NORMS, ids=lambda norm: norm.name)
def test_loss_rises_and_every_iterate_is_permitted(norm: Norm) -> None:
    attack = Pgd(norm, 0.1, SHAPE, iterations=20)
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


def test_multi_targeted_climbs_towards_its_target() -> None:
    attack = MultiTargeted(L2(), 2.0, SHAPE, targets=2, iterations=30)
    model = Linear(SHAPE, 3)
    state = attack.start(_slots())
    classifier = Classifier(model, SHAPE, 8)
    examples = [attack.step(state, classifier, 8).x_adv for _ in range(attack.steps)]
    assert torch.equal(answers(model, examples[-1]), state.target)


@pytest.mark.parametrize("norm", NORMS, ids=lambda norm: norm.name)
def test_fgsm_takes_one_step_of_the_whole_budget_in_two_passes(norm: Norm) -> None:
    attack = Fgsm(norm, 0.1, SHAPE)
    slots = _slots()
    slots.x = torch.full_like(slots.x, 0.5)
    classifier = Classifier(Cnn(SHAPE, 3).eval(), SHAPE, 8)
    proposal = attack.step(attack.start(slots), classifier, 8)
    torch.testing.assert_close(norm.distance(proposal.x_adv - 0.5), torch.full((8,), 0.1))
    assert bool(proposal.done.all())
    assert (classifier.forward_passes, classifier.backward_passes) == (16, 8)
