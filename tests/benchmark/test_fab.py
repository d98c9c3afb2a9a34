from __future__ import annotations

import pytest
import torch

from benchmark.attacks.base import Slots
from benchmark.attacks.fab import FabT
from benchmark.classifier import Classifier
from benchmark.norms import L2, Linf, Norm
from tests.benchmark.models import Linear, answers

SHAPE = (3, 4, 5)


def _near_the_boundary(classes: int) -> tuple[Linear, torch.Tensor, torch.Tensor, torch.Tensor]:
    model = Linear(SHAPE, classes)
    generator = torch.Generator().manual_seed(1)
    x = 0.4 + 0.2 * torch.rand(8, *SHAPE, generator=generator)
    y = answers(model, x)
    with torch.no_grad():
        order = model(x).argsort(1, descending=True)
    return model, x.flatten(1), y, order[:, 1]


def _slots(x: torch.Tensor, y: torch.Tensor, target: torch.Tensor) -> Slots:
    zeros = torch.zeros_like(y)
    return Slots(x=x, y=y, target=target, key=zeros, step=zeros.clone())


@pytest.mark.parametrize(("norm", "dual"), [(Linf(), 1), (L2(), 2)], ids=["Linf", "L2"])
def test_closest_example_on_a_linear_model_is_as_close_as_can_be(norm: Norm, dual: int) -> None:
    model, x, y, target = _near_the_boundary(2)
    attack = FabT(norm, 10.0, SHAPE, iterations=30, targets=1)
    classifier = Classifier(model, SHAPE, 8)
    normal = (model.weight[target] - model.weight[y]).detach()
    offset = (model.bias[y] - model.bias[target]).detach()
    exact = (offset - (normal * x).sum(1)).abs() / torch.linalg.vector_norm(normal, dual, dim=1)
    state = attack.start(_slots(x, y, target))
    closest = torch.full((8,), torch.inf)
    for number in range(30):
        proposal = attack.step(state, classifier, 8)
        distance = norm.distance(proposal.x_adv - x)
        wrong = answers(model, proposal.x_adv) != y
        closest = torch.where(wrong, torch.minimum(closest, distance), closest)
        if number == 0:
            # Both projections are the same point, so the first step is the overshoot alone.
            torch.testing.assert_close(distance, 1.05 * exact, rtol=1e-3, atol=1e-6)
            assert bool(wrong.all())
            torch.testing.assert_close(state.x_adv, x + 0.9 * (proposal.x_adv - x))
    assert bool((closest >= exact * (1 - 1e-4)).all())
    assert bool((closest <= exact * 1.01).all())


def test_claims_only_what_lies_within_the_budget() -> None:
    model, x, y, target = _near_the_boundary(4)
    normal = (model.weight[target] - model.weight[y]).detach()
    gap = ((model.bias[y] - model.bias[target]).detach() - (normal * x).sum(1)).abs()
    exact = gap / normal.abs().sum(1)
    epsilon = float(exact.median()) * 1.06
    attack = FabT(Linf(), epsilon, SHAPE, iterations=1, targets=3)
    proposal = attack.step(attack.start(_slots(x, y, target)), Classifier(model, SHAPE, 8), 8)
    assert torch.equal(proposal.broken, Linf().distance(proposal.x_adv - x) <= epsilon)
    assert 0 < int(proposal.broken.sum()) < 8
    assert bool(proposal.done.all())


@pytest.mark.parametrize("norm", [Linf(), L2()], ids=lambda norm: norm.name)
@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1e4])
def test_scale_of_the_logits_does_not_matter(norm: Norm, scale: float) -> None:
    """A model cannot hide from the attack by dividing its logits."""
    model, x, y, target = _near_the_boundary(2)
    with torch.no_grad():
        model.bias.zero_()
        y = answers(model, x)
        target = 1 - y
    found = []
    for factor in (1.0, scale):
        scaled = Linear(SHAPE, 2)
        with torch.no_grad():
            scaled.weight.mul_(factor)
            scaled.bias.zero_()
        attack = FabT(norm, 10.0, SHAPE, iterations=1, targets=1)
        found.append(attack.step(attack.start(_slots(x, y, target)), Classifier(scaled, SHAPE, 8), 8))
    torch.testing.assert_close(found[0].x_adv, found[1].x_adv, rtol=1e-4, atol=1e-5)
    assert torch.equal(found[0].broken, found[1].broken)


def test_iterates_stay_in_the_box() -> None:
    model, x, y, target = _near_the_boundary(4)
    attack = FabT(L2(), 0.5, SHAPE, iterations=10, targets=3)
    state = attack.start(_slots((x * 3 - 1).clamp(0, 1), y, target))
    classifier = Classifier(model, SHAPE, 8)
    for _ in range(10):
        x_adv = attack.step(state, classifier, 8).x_adv
        assert float(x_adv.min()) >= 0
        assert float(x_adv.max()) <= 1
    assert (classifier.forward_passes, classifier.backward_passes) == (160, 80)


@pytest.mark.parametrize(("start", "alpha"), [(3.0, 0.1), (0.95, 0.05 / 1.05)])
def test_pull_towards_the_clean_point_is_bounded(start: float, alpha: float) -> None:
    """In units of the distance to the plane: the iterate lies at ``start``, the clean point at 0, the plane at 1."""
    model, x, y, target = _near_the_boundary(2)
    normal = (model.weight[target] - model.weight[y]).detach()
    gap = (model.bias[y] - model.bias[target]).detach() - (normal * x).sum(1)
    whole = gap[:, None] * normal / (normal**2).sum(1, keepdim=True)
    attack = FabT(L2(), 10.0, SHAPE, targets=1)
    state = attack.start(_slots(x, y, target))
    state.x_adv = x + start * whole
    assert float(state.x_adv.min()) > 0
    assert float(state.x_adv.max()) < 1
    reached = (1 - alpha) * (start + 1.05 * (1 - start)) + alpha * 1.05
    proposal = attack.step(state, Classifier(model, SHAPE, 8), 8)
    torch.testing.assert_close(proposal.x_adv, x + reached * whole, rtol=1e-4, atol=1e-5)
