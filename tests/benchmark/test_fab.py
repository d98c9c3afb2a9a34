from __future__ import annotations

import gc
from collections.abc import Callable, Iterator

import pytest
import torch

from benchmark.attacks.base import Slots
from benchmark.attacks.fab import Fab, FabSlots, FabT
from benchmark.classifier import Classifier, Gradient
from benchmark.norms import L1, L2, Linf, Norm
from tests.benchmark.models import Cnn, Linear, answers, points
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


@pytest.mark.parametrize("norm", [Linf(), L2(), L1()], ids=lambda norm: norm.name)
@pytest.mark.parametrize("classes", [2, 10])
def test_nearest_hyperplane_is_that_of_all_gradients_at_once(norm: Norm, classes: int) -> None:
    model = Cnn(SHAPE, classes).eval()
    x, y = points(64, SHAPE, classes)
    attack = Fab(norm, 1.0, SHAPE)
    found = attack._linearise(attack.start(_slots(x.flatten(1), y, y)), Classifier(model, SHAPE, 64), 64)

    leaf = x.flatten(1).requires_grad_()
    logits = model(leaf.clone().view(64, *SHAPE))
    others = torch.tensor([[k for k in range(classes) if k != label] for label in y.tolist()])
    gaps = logits.gather(1, others) - logits.gather(1, y[:, None])
    columns = [torch.autograd.grad(gap.sum(), leaf, retain_graph=True)[0] for gap in gaps.unbind(1)]
    normals, row = torch.stack(columns, 1), torch.arange(64)
    steepness = norm.dual(normals.flatten(0, 1)).view(64, classes - 1)
    nearest = (gaps.detach().abs() / steepness.clamp_min(1e-12)).argmin(1)
    assert torch.equal(found.weight, normals[row, nearest])
    assert torch.equal(found.gap, -gaps.detach()[row, nearest])


@pytest.mark.parametrize("norm", [Linf(), L2(), L1()], ids=lambda norm: norm.name)
def test_of_equally_near_hyperplanes_the_first_is_taken(norm: Norm) -> None:
    """Class k above 0 leans on pixel k alone, and all pixels are equal."""
    model = Linear(SHAPE, 5)
    with torch.no_grad():
        model.weight.copy_(torch.eye(60)[:5])
        model.bias.copy_(torch.tensor([3.0, 0, 0, 0, 0]))
        model.weight[0] = 0
    x, y = torch.full((8, 60), 0.5), torch.tensor([0, 0, 0, 0, 0, 0, 1, 2])
    attack = Fab(norm, 1.0, SHAPE)
    found = attack._linearise(attack.start(_slots(x, y, y)), Classifier(model, SHAPE, 8), 8)
    assert found.weight[:6].argmax(1).tolist() == [1] * 6
    # From class 1 to 2 it is as far as to 3 and 4, and from 2 the first is 1.
    assert found.weight[6:].argmax(1).tolist() == [2, 1]


class _Weighed(Classifier):
    """Weighs all tensors alive when the first gradient is handed out, and when the last is."""

    def __init__(self, classes: int) -> None:
        super().__init__(Linear(SHAPE, classes), SHAPE, 64)
        self.weights: list[int] = []

    def gradients(
        self, x: torch.Tensor, objectives: Callable[[torch.Tensor], torch.Tensor], live: int | None = None
    ) -> Iterator[Gradient]:
        before = self.backward_passes
        for found in super().gradients(x, objectives, live):
            if (self.backward_passes - before) // len(x) in (1, 199):
                tensors = (one for one in gc.get_objects() if type(one) is torch.Tensor)
                alive = (one.untyped_storage() for one in tensors if one.layout is torch.strided)
                self.weights.append(sum({one.data_ptr(): one.nbytes() for one in alive}.values()))
            yield found


def test_memory_does_not_grow_with_the_number_of_classes() -> None:
    x, y = points(64, SHAPE, 200)
    attack, classifier = Fab(L2(), 1.0, SHAPE), _Weighed(200)
    attack.step(attack.start(_slots(x.flatten(1), y, y)), classifier, 64)
    first, last = classifier.weights
    assert classifier.backward_passes == 64 * 199
    assert abs(last - first) <= 2 * x.nbytes


@pytest.mark.parametrize("kind", ["fab", "fab-t"])
def test_iterates_that_the_model_answers_with_nan_are_left_behind(kind: str) -> None:
    """A model that answers NaN beyond the budget must not blind the attack to what lies within."""

    class Walled(Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            away = (x.flatten(1) - middle).abs().amax(1, keepdim=True)
            return torch.where(away > 0.3, torch.nan, super().forward(x))

    model, x, y, target = _near_the_boundary(4)
    middle, walled = x.clone(), Walled(SHAPE, 4)
    attack = Fab(Linf(), 0.2, SHAPE) if kind == "fab" else FabT(Linf(), 0.2, SHAPE, targets=1)
    state = attack.start(_slots(x, y, target))
    state.x_adv = (x + 0.4).clamp(0, 1)
    broken = torch.zeros(8, dtype=torch.bool)
    for _ in range(30):
        proposal = attack.step(state, Classifier(walled, SHAPE, 8), 8)
        assert bool(torch.isfinite(proposal.x_adv).all())
        broken |= proposal.broken
    reachable = Fab(Linf(), 0.2, SHAPE)
    first = reachable.step(reachable.start(_slots(x, y, target)), Classifier(model, SHAPE, 8), 8)
    assert bool(first.broken.any())
    assert torch.equal(broken, first.broken)
