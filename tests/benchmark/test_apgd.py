from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from benchmark import randomness
from benchmark.attacks.apgd import Apgd, ApgdSlots, windows
from benchmark.attacks.base import Slots
from benchmark.classifier import Classifier, Gradient
from benchmark.norms import L2, Linf, Norm
from tests.benchmark.models import Linear, points

SHAPE = (1, 4, 4)
CPU = torch.device("cpu")


def _begin(norm: Norm, n: int = 8, iterations: int = 100, epsilon: float = 0.1) -> tuple[Apgd, ApgdSlots]:
    attack = Apgd(norm, epsilon, SHAPE, loss="ce", iterations=iterations)
    x, y = points(n, SHAPE, 3)
    index = torch.arange(n)
    key = randomness.item_keys(0, "apgd-ce", 0, 0, index)
    zeros = torch.zeros_like(index)
    slots = Slots(x=x.flatten(1), y=y, target=y, key=key, restart=zeros, step=zeros.clone())
    return attack, attack.start(slots)


def _classifier(model: nn.Module | None = None) -> Classifier:
    return Classifier(model or Linear(SHAPE, 3), SHAPE, 8)


def test_checkpoints_of_100_iterations() -> None:
    attack, _ = _begin(Linf())
    ends = torch.nonzero(windows(100, CPU)).flatten()
    assert ends.tolist() == [22, 41, 57, 70, 80, 87, 93, 99]
    assert windows(100, CPU)[ends].tolist() == [22, 19, 16, 13, 10, 7, 6, 6]
    assert attack.steps == 101


@pytest.mark.parametrize("iterations", [1, 2, 3, 10, 30])
def test_windows_of_few_iterations_are_at_least_one_long(iterations: int) -> None:
    lengths = windows(iterations, CPU)
    assert len(lengths) == iterations + 1
    assert bool((lengths[lengths > 0] >= 1).all())


@pytest.mark.parametrize("norm", [Linf(), L2()], ids=lambda norm: norm.name)
def test_start_lies_on_the_surface_of_the_ball(norm: Norm) -> None:
    attack, state = _begin(norm)
    middle = torch.full_like(state.x, 0.5)
    slots = Slots(x=middle, y=state.y, target=state.target, key=state.key, restart=state.restart, step=state.step)
    torch.testing.assert_close(norm.distance(attack.start(slots).x_adv - middle), torch.full((8,), 0.1))


@pytest.mark.parametrize("norm", [Linf(), L2()], ids=lambda norm: norm.name)
def test_every_iterate_is_within_budget_and_box(norm: Norm) -> None:
    attack, state = _begin(norm)
    classifier = _classifier()
    for number in range(attack.steps):
        proposal = attack.step(state, classifier, 8)
        assert proposal.done.tolist() == [number == 100] * 8
        assert bool((norm.distance(proposal.x_adv.double() - state.x.double()) <= 0.1 * (1 + 1e-5)).all())
        assert float(proposal.x_adv.min()) >= 0
        assert float(proposal.x_adv.max()) <= 1
    assert (classifier.forward_passes, classifier.backward_passes) == (101 * 8, 101 * 8)


def test_first_steps_follow_the_paper() -> None:
    """Two steps in float64 by the formulas: a = 1 first, then 0.75, with a step size of 2 epsilon."""
    attack, state = _begin(Linf(), n=1)
    model = Linear(SHAPE, 3)
    x, start = state.x.clone(), state.x_adv.clone()

    def sign(at: torch.Tensor) -> torch.Tensor:
        leaf = at.clone().requires_grad_()
        loss = nn.functional.cross_entropy(model(leaf), state.y)
        return torch.autograd.grad(loss, leaf)[0].sign()

    def project(at: torch.Tensor) -> torch.Tensor:
        return (x + (at - x).clamp(-0.1, 0.1)).clamp(0, 1)

    second = project(start + 0.2 * sign(start))
    third = project(second + 0.75 * (project(second + 0.2 * sign(second)) - second) + 0.25 * (second - start))
    classifier = _classifier(model)
    for expected in (start, second, third):
        torch.testing.assert_close(attack.step(state, classifier, 1).x_adv, expected)


class _Scripted(Classifier):
    """Answers with a given loss at each pass, and with a gradient that always points the same way."""

    def __init__(self, values: list[float]) -> None:
        super().__init__(Linear(SHAPE, 3), SHAPE, 8)
        self.values = iter(values)

    def gradient(self, x: torch.Tensor, objective: object, live: int | None = None, samples: int = 1) -> Gradient:
        value = torch.full((len(x),), next(self.values))
        return Gradient(torch.zeros(len(x), 3), value, torch.ones_like(x))


def _step_sizes(values: list[float]) -> list[float]:
    attack, state = _begin(Linf())
    classifier = _Scripted(values)
    sizes = []
    for _ in values:
        attack.step(state, classifier, 8)
        sizes.append(float(state.step_size[0]))
    return sizes


def test_step_size_stays_while_the_loss_rises() -> None:
    assert _step_sizes([float(i) for i in range(101)]) == [pytest.approx(0.2)] * 101


@pytest.mark.parametrize(("rises", "halved"), [(16, True), (17, False)])
def test_step_size_halves_when_at_most_three_quarters_of_the_window_rose(rises: int, halved: bool) -> None:
    """0.75 × 22 = 16.5: 16 rises are too few, 17 are enough, and there is no phantom rise."""
    values = [0.0, *(float(i + 1) for i in range(rises)), *(rises - 1.0 - i for i in range(22 - rises))]
    sizes = _step_sizes(values)
    assert sizes[21] == pytest.approx(0.2)
    assert sizes[22] == pytest.approx(0.1 if halved else 0.2)


def test_step_size_halves_when_the_best_has_not_improved_since_the_last_checkpoint() -> None:
    """Rises below the best do not help: condition 2 of the paper, unless the last checkpoint halved already."""
    first = [float(i) for i in range(23)]
    below = [-100.0, *(-99.0 + i for i in range(18))]
    sizes = _step_sizes([*first, *below])
    assert sizes[22] == pytest.approx(0.2)
    assert sizes[41] == pytest.approx(0.1)


def test_halving_returns_to_the_best_point() -> None:
    attack, state = _begin(Linf())
    values = [0.0, 5.0, *(-1.0 - i for i in range(21))]
    classifier = _Scripted(values)
    path = [attack.step(state, classifier, 8).x_adv.clone() for _ in values]
    assert torch.equal(state.x_prev, path[1])
    assert torch.equal(state.x_best, path[1])
    assert not torch.equal(path[-1], path[1])


def test_slots_at_different_steps_do_not_disturb_each_other() -> None:
    """A slot goes the same way whether its neighbour is at the same step or 30 behind."""
    classifier = _classifier()
    attack, together = _begin(Linf())
    _, apart = _begin(Linf())
    late = torch.arange(4, 8)
    fresh = apart.take(late)
    path = [attack.step(together, classifier, 8).x_adv.clone() for _ in range(attack.steps)]
    for number in range(attack.steps):
        if number == 30:
            apart.put(late, fresh)
        x_adv = attack.step(apart, classifier, 8).x_adv
        assert torch.equal(x_adv[:4], path[number][:4])
        if number >= 30:
            assert torch.equal(x_adv[4:], path[number - 30][4:])


def test_take_and_put_move_every_field() -> None:
    _, state = _begin(L2())
    rows = torch.tensor([5, 2])
    taken = state.take(rows)
    changed = replace(taken, step_size=taken.step_size + 1)
    state.put(torch.tensor([0, 1]), changed)
    assert torch.equal(state.x[:2], taken.x)
    assert torch.equal(state.step_size[:2], taken.step_size + 1)
    assert set(state.tensors()) >= {"x", "y", "key", "grad_best", "halved"}


def test_rises_are_counted_anew_in_every_window() -> None:
    """14 rises of 19 are too few, however many there were in the window before."""
    values = [*(float(i) for i in range(37)), *(35.0 - i for i in range(5))]
    sizes = _step_sizes(values)
    assert sizes[22] == pytest.approx(0.2)
    assert sizes[41] == pytest.approx(0.1)


def test_after_a_return_the_gradient_is_that_of_the_best_point() -> None:
    class Turning(_Scripted):
        passes = 0

        def gradient(self, x: torch.Tensor, objective: object, live: int | None = None, samples: int = 1) -> Gradient:
            found = super().gradient(x, objective, live)
            self.passes += 1
            return Gradient(found.logits, found.value, found.grad if self.passes == 2 else -found.grad)

    attack, state = _begin(Linf())
    classifier = Turning([0.0, 5.0, *(-1.0 - i for i in range(22))])
    path = [attack.step(state, classifier, 8).x_adv.clone() for _ in range(24)]
    best, before, after = path[1], path[21], path[23]

    def inside(x_adv: torch.Tensor) -> torch.Tensor:
        return (state.x + (x_adv - state.x).clamp(-0.1, 0.1)).clamp(0, 1)

    expected = inside(best + 0.75 * (inside(best + 0.1) - best) + 0.25 * (best - before))
    torch.testing.assert_close(after, expected)
