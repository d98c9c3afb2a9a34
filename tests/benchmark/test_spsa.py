"""The attack that estimates gradients from answers alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from benchmark import randomness
from benchmark.attacks.base import Slots
from benchmark.attacks.pgd import Pgd
from benchmark.attacks.spsa import Spsa
from benchmark.classifier import Classifier
from benchmark.norms import L1, L2, Linf, Norm
from tests.benchmark.models import Cnn, Linear, Robust, Shape, answers, points
from tests.benchmark.runs import engine_of

SHAPE: Shape = (1, 4, 4)
NORMS: list[Norm] = [Linf(), L2(), L1()]


def _slots(x: Tensor, y: Tensor, seed: int = 0) -> Slots:
    index = torch.arange(len(x))
    key = randomness.item_keys(seed, "spsa", 0, 0, index)
    zeros = torch.zeros_like(index)
    return Slots(x=x.flatten(1), y=y, target=y, key=key, restart=zeros, step=zeros.clone())


class Seen(nn.Module):
    """Keeps what the model was asked."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.images: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.images.append(x.flatten(1))
        return torch.as_tensor(self.inner(x))


@pytest.mark.parametrize(("samples", "least"), [(8, 0.3), (32, 0.6), (800, 0.96)])
def test_estimate_points_where_the_margin_of_a_linear_model_falls(samples: int, least: float) -> None:
    """Its length is right as well: the mean over many directions is the gradient itself."""
    model = Linear(SHAPE, 2)
    x, y = points(16, SHAPE, 2)
    attack = Spsa(Linf(), 0.1, SHAPE, samples=samples)
    state, classifier = attack.start(_slots(x, y)), Classifier(model, SHAPE, 16)
    estimate = attack._estimate(state, classifier, 16)
    towards_one = (model.weight[1] - model.weight[0]).detach()
    exact = torch.where(y[:, None] == 0, towards_one, -towards_one)
    assert float(torch.cosine_similarity(estimate, exact).mean()) > least
    if samples == 800:
        torch.testing.assert_close(estimate, exact, atol=0.25 * float(exact.abs().max()), rtol=0)


def test_estimate_is_the_mean_over_the_directions_of_its_key_and_step() -> None:
    model = Cnn(SHAPE, 3).eval()
    x, y = points(8, SHAPE, 3)
    attack = Spsa(L2(), 0.3, SHAPE, samples=3, reach=0.02)
    state = attack.start(_slots(x, y))
    state.step = torch.arange(8)
    centre = state.x_adv.clamp(0.02, 0.98)
    expected = torch.zeros_like(centre)
    with torch.no_grad():
        for number in range(3):
            key = randomness.at_step(randomness.at_step(state.key, state.step), torch.full((8,), number))
            direction = randomness.rademacher(key, 16)
            ends = [model((centre + sign * 0.02 * direction).view(8, *SHAPE)) for sign in (1, -1)]
            forth, back = (z.gather(1, y[:, None])[:, 0] - z.scatter(1, y[:, None], -1e9).amax(1) for z in ends)
            expected -= (forth - back)[:, None] / 0.04 * direction / 3
    torch.testing.assert_close(attack._estimate(state, Classifier(model, SHAPE, 8), 8), expected)
    state.step = state.step + 1
    assert not torch.allclose(attack._estimate(state, Classifier(model, SHAPE, 8), 8), expected)


@pytest.mark.parametrize("norm", NORMS, ids=lambda norm: norm.name)
def test_model_is_asked_for_permitted_images_alone(norm: Norm) -> None:
    x, y = points(8, SHAPE, 3)
    x = x.round()  # every pixel at a side of the box
    seen = Seen(Cnn(SHAPE, 3).eval())
    attack, classifier = Spsa(norm, 0.3, SHAPE, iterations=4, samples=3), Classifier(seen, SHAPE, 8)
    state = attack.start(_slots(x, y))
    for number in range(5):
        before = state.x_adv.clone()
        proposal = attack.step(state, classifier, 8)
        assert torch.equal(proposal.x_adv, before)
        assert bool((norm.distance(before.double() - state.x.double()) <= 0.3 * (1 + 1e-5)).all())
        assert proposal.done.tolist() == [number == 4] * 8
    images = torch.cat(seen.images)
    assert len(images) == 5 * 7 * 8
    assert 0 <= float(images.min()) < float(images.max()) <= 1


def test_a_point_that_holds_costs_this_many_forward_passes() -> None:
    x, attack = points(1, SHAPE, 4)[0], Spsa(Linf(), 0.03, SHAPE, iterations=4)
    engine = engine_of(attack, Robust(SHAPE, 4).eval(), x, torch.tensor([0]))
    assert not bool(engine.run().broken.any())
    at_each_step = 1 + 2 * 32
    assert (engine._classifier.forward_passes, engine._classifier.backward_passes) == (5 * at_each_step, 0)
    assert Spsa(Linf(), 0.03, SHAPE).steps * at_each_step == 3965


class Coarse(nn.Module):
    """The logits of a network in steps: the answers are hardly others, and every gradient is zero."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.inner(x)).mul(10).round().div(10)


@pytest.mark.parametrize(("norm", "epsilon"), [(Linf(), 0.15), (L2(), 1.0), (L1(), 5.0)], ids=["Linf", "L2", "L1"])
def test_it_breaks_a_model_without_gradients_where_pgd_breaks_nothing(
    blob_model: Cnn, blob_points: tuple[Tensor, Tensor], norm: Norm, epsilon: float
) -> None:
    x, model = blob_points[0][:48], Coarse(blob_model)
    y = answers(model, x)
    attacks = (Pgd(norm, epsilon, (1, 8, 8)), Spsa(norm, epsilon, (1, 8, 8), iterations=20, samples=16))
    by_pgd, by_spsa = (engine_of(attack, model, x, y, width=48).run().broken for attack in attacks)
    assert not bool(by_pgd.any())
    assert float(by_spsa.double().mean()) > 0.25


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf, 1e38])
def test_answers_out_of_range_leave_the_iterates_finite(value: float) -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            flat = x.flatten(1)
            return torch.stack((torch.where(flat[:, 0] > 0.5, value, flat.sum(1)), flat[:, 1] * value), 1)

    x, y = points(16, SHAPE, 2)
    for norm in NORMS:
        attack, classifier = Spsa(norm, 0.3, SHAPE, samples=4), Classifier(Odd(), SHAPE, 16)
        state = attack.start(_slots(x, y))
        for _ in range(5):
            attack.step(state, classifier, 16)
        assert bool(torch.isfinite(state.x_adv).all())


def test_points_do_not_depend_on_their_neighbours() -> None:
    model, (x, y) = Cnn(SHAPE, 3).eval(), points(24, SHAPE, 3)
    attack, examples = Spsa(Linf(), 0.1, SHAPE, samples=4), []
    for rows in (torch.arange(24), torch.arange(24).flip(0)[:9]):
        state, classifier = attack.start(_slots(x, y).take(rows)), Classifier(model, SHAPE, 24)
        for _ in range(6):
            attack.step(state, classifier, len(rows))
        examples.append(state.x_adv)
    torch.testing.assert_close(examples[1], examples[0].flip(0)[:9], atol=1e-5, rtol=0)


def test_parameters_tell_everything() -> None:
    assert Spsa(Linf(), 0.2, SHAPE).parameters == {
        "loss": "margin",
        "iterations": 60,
        "samples": 32,
        "step_size": pytest.approx(0.1),
        "decay": 0.9,
        "reach": 0.01,
        "restarts": 1,
    }
    assert Spsa(Linf(), 0.2, SHAPE, step_size=0.03).parameters["step_size"] == 0.03
