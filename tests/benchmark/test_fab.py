from __future__ import annotations

import pytest
import torch

from benchmark.attacks.base import Slots
from benchmark.attacks.fab import Fab, FabSlots, FabT
from benchmark.classifier import Classifier
from benchmark.norms import L1, L2, Linf, Norm
from tests.benchmark.models import Linear, answers
from tests.benchmark.runs import engine_of

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
    return Slots(x=x, y=y, target=target, key=zeros, restart=zeros.clone(), step=zeros.clone())


@pytest.mark.parametrize(("norm", "dual"), [(Linf(), 1.0), (L2(), 2.0), (L1(), torch.inf)], ids=["Linf", "L2", "L1"])
def test_closest_example_on_a_linear_model_is_as_close_as_can_be(norm: Norm, dual: float) -> None:
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


@pytest.mark.parametrize("norm", [Linf(), L2(), L1()], ids=lambda norm: norm.name)
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


def test_untargeted_takes_the_nearest_hyperplane_and_counts_every_gradient() -> None:
    model, x, y, _ = _near_the_boundary(4)
    classifier = Classifier(model, SHAPE, 8)
    attack = Fab(L2(), 10.0, SHAPE)
    proposal = attack.step(attack.start(_slots(x, y, y)), classifier, 8)
    lead = (x @ model.weight.T + model.bias).gather(1, y[:, None]) - (x @ model.weight.T + model.bias)
    slope = torch.linalg.vector_norm(model.weight[y][:, None] - model.weight[None], dim=2)
    exact = (lead / slope).scatter(1, y[:, None], torch.inf).amin(1).detach()
    torch.testing.assert_close(L2().distance(proposal.x_adv - x), 1.05 * exact, rtol=1e-3, atol=1e-6)
    assert (classifier.forward_passes, classifier.backward_passes) == (2 * 8, 3 * 8)


@pytest.mark.parametrize("norm", [Linf(), L2(), L1()], ids=lambda norm: norm.name)
def test_restarts_begin_at_half_the_budget_and_the_first_run_at_the_clean_point(norm: Norm) -> None:
    _, x, y, target = _near_the_boundary(4)
    for attack in (Fab(norm, 0.2, SHAPE, restarts=3), FabT(norm, 0.2, SHAPE, restarts=3, targets=2)):
        slots = _slots(x, y, target)
        slots.key, slots.restart = torch.arange(8), torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
        away = norm.distance(attack.start(slots).x_adv - x)
        torch.testing.assert_close(away, 0.1 * (slots.restart > 0).float())
        assert attack.restarts == 3


def test_restarts_reach_the_attack() -> None:
    """Items of a later restart start elsewhere, so their examples differ from the first one's."""
    model, x, y, _ = _near_the_boundary(4)
    seen: set[int] = set()

    class Listening(Fab):
        def start(self, slots: Slots) -> FabSlots:
            seen.update(slots.restart.tolist())
            return super().start(slots)

    attack = Listening(L2(), 1e-4, SHAPE, iterations=2, restarts=3)
    engine = engine_of(attack, model, x.view(8, *SHAPE), y, width=8)
    engine.run()
    assert seen == {0, 1, 2}
    assert engine.items == 24
    classifier = engine._classifier
    assert (classifier.forward_passes, classifier.backward_passes) == (24 * 2 * 2, 24 * 2 * 3)
