"""What every attack promises, whatever it does inside."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from benchmark.attacks.apgd_l1 import ApgdL1
from benchmark.attacks.base import Setting
from benchmark.attacks.square_exchange import SquareL1
from benchmark.catalogue import CATALOGUE, attack_named
from benchmark.ensemble import Run, Snapshot
from benchmark.errors import EvaluationFailed
from benchmark.norms import norm_named
from benchmark.pipeline import Evaluation, evaluate_points
from tests.benchmark.models import Cnn, Shape, answers, points
from tests.benchmark.runs import attack_maker, attacked, protocol_of, settings

ATTACKS = tuple(CATALOGUE)
NORMS = {"Linf": 0.03, "L2": 0.2, "L1": 1.0}
SHAPES: tuple[Shape, ...] = ((1, 8, 8), (3, 6, 10), (3, 4, 4))
WITHOUT_RANDOMNESS = ("fab", "fab-t", "fgsm", "mi-fgsm")
CASES = [
    (attack, norm, shape, classes)
    for attack, norm, shape, classes in itertools.product(ATTACKS, NORMS, SHAPES, (2, 3, 10))
    if classes >= CATALOGUE[attack].least_classes
]


def _run(attack: str, norm: str, seed: int = 0) -> Run:
    return settings(norm, NORMS[norm], protocol_of(attack_maker(attack, 6)), seed)


def _state(model: nn.Module, *inputs: Tensor) -> list[object]:
    """Everything that an evaluation must leave alone, as comparable values."""
    tensors = [*inputs, *model.state_dict().values(), torch.random.get_rng_state()]
    parameters = [(p.requires_grad, None if p.grad is None else p.grad.tolist()) for p in model.parameters()]
    modes = [module.training for module in model.modules()]
    return [*(tensor.tolist() for tensor in tensors), parameters, modes]


def _check_examples(evaluation: Evaluation, model: nn.Module, x: Tensor, y: Tensor, norm: str) -> None:
    x_adv, verdicts = evaluation.x_adv, evaluation.report.points
    assert x_adv.shape == x.shape
    assert x_adv.dtype == torch.float32
    assert not x_adv.requires_grad
    assert float(x_adv.min()) >= 0
    assert float(x_adv.max()) <= 1
    distance = norm_named(norm).distance((x_adv.double() - x.double()).flatten(1))
    assert bool((distance <= NORMS[norm] * (1 + 1e-5) + 1e-7).all())
    model.eval()
    wrong = answers(model, x_adv) != y
    assert wrong.tolist() == [not robust for robust in verdicts.robust]
    for row, (by, step) in enumerate(zip(verdicts.broken_by, verdicts.step, strict=True)):
        assert (step is not None) == (by not in (None, "clean"))
        if by in (None, "clean"):
            assert torch.equal(x_adv[row], x[row])
        assert verdicts.distance[row] == (None if by is None else pytest.approx(float(distance[row]), abs=1e-12))


@pytest.mark.parametrize("n", [1, pytest.param(3, marks=pytest.mark.slow), 8])
@pytest.mark.parametrize(("attack", "norm", "shape", "classes"), CASES)
def test_attack_keeps_its_contract(attack: str, norm: str, shape: Shape, classes: int, n: int) -> None:
    model = Cnn(shape, classes).train()
    x, _ = points(n, shape, classes)
    y = answers(model.eval(), x)
    y[1:2] = (y[1:2] + 1) % classes
    model.train()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    model.convolution.weight.requires_grad_(False)
    model.norm.eval()
    before = _state(model, x, y)

    first = attacked(model, x, y, _run(attack, norm))
    assert _state(model, x, y) == before
    second = attacked(model, x, y, _run(attack, norm))

    assert first.report.results_sha256() == second.report.results_sha256()
    assert torch.equal(first.x_adv, second.x_adv)
    _check_examples(first, model, x, y, norm)
    (outcome,) = first.report.attacks
    assert outcome.over_budget == 0
    assert outcome.attacked == sum(by != "clean" for by in first.report.points.broken_by)


class _Fragile(Cnn):
    """Raises at the pass after the given number."""

    def __init__(self, shape: Shape, classes: int, passes: int) -> None:
        super().__init__(shape, classes)
        self.left = passes

    def forward(self, x: Tensor) -> Tensor:
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("out of patience")
        return super().forward(x)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("attack", ATTACKS)
def test_model_that_raises_ends_the_run_and_is_left_as_it_was(attack: str, norm: str) -> None:
    shape = (1, 8, 8)
    x, y = points(3, shape, 10)
    y = answers(Cnn(shape, 10).eval(), x)
    model = _Fragile(shape, 10, passes=3).train()
    before = _state(model, x, y)
    with pytest.raises(EvaluationFailed, match="out of patience"):
        attacked(model, x, y, _run(attack, norm))
    assert _state(model, x, y) == before


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("attack", [name for name in ATTACKS if name not in WITHOUT_RANDOMNESS])
def test_another_seed_gives_other_examples(attack: str, norm: str) -> None:
    shape = (3, 6, 10)
    model = Cnn(shape, 10)
    x, _ = points(8, shape, 10)
    y = answers(model.eval(), x)
    protocol = protocol_of(attack_maker(attack, 30))
    one, other = (attacked(model, x, y, settings(norm, 3 * NORMS[norm], protocol, seed)) for seed in (0, 1))
    assert any(by == attack for by in one.report.points.broken_by)
    assert not torch.equal(one.x_adv, other.x_adv)
    assert one.report.results_sha256() != other.report.results_sha256()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("attack", WITHOUT_RANDOMNESS)
def test_attacks_without_randomness_do_not_depend_on_the_seed(attack: str, norm: str) -> None:
    shape = (3, 6, 10)
    model = Cnn(shape, 10)
    x, _ = points(8, shape, 10)
    y = answers(model.eval(), x)
    one, other = (attacked(model, x, y, _run(attack, norm, seed)) for seed in (0, 1))
    assert not all(one.report.points.robust)
    assert torch.equal(one.x_adv, other.x_adv)


EPSILON_OF_BLOBS = {"Linf": 0.12, "L2": 0.7, "L1": 3.5}


@pytest.mark.parametrize(
    "norm", [pytest.param(norm, marks=pytest.mark.slow) if norm != "Linf" else norm for norm in NORMS]
)
@pytest.mark.parametrize("attack", ATTACKS)
def test_verdicts_do_not_depend_on_width_order_or_neighbours(
    blob_model: nn.Module, blob_points: tuple[Tensor, Tensor], attack: str, norm: str
) -> None:
    x, y = blob_points
    # Without gradients it takes more steps, or a larger budget, to break anything.
    steps, factor = {"square": (50, 1.6), "spsa": (8, 1.6)}.get(attack, (10, 1.0))
    protocol = protocol_of(attack_maker(attack, steps))
    epsilon = factor * EPSILON_OF_BLOBS[norm]
    whole = attacked(blob_model, x, y, settings(norm, epsilon, protocol)).report.points
    assert 0.02 < sum(whole.robust) / len(x) < 0.98
    verdicts = [dict(zip(whole.index, whole.broken_by, strict=True))]
    for width in (1, 7):
        other = attacked(blob_model, x, y, settings(norm, epsilon, protocol, width=width)).report.points
        verdicts.append(dict(zip(other.index, other.broken_by, strict=True)))
    in_parts: dict[int, str | None] = {}
    for rest in range(3):
        index = range(rest, len(x), 3)
        rows = torch.tensor(index)
        part = evaluate_points(blob_model, x[rows], y[rows], index, settings(norm, epsilon, protocol)).report.points
        in_parts.update(zip(part.index, part.broken_by, strict=True))
    verdicts.append(in_parts)
    for other_verdicts in verdicts[1:]:
        equal = sum(other_verdicts[i] == by for i, by in verdicts[0].items())
        assert equal / len(x) >= 0.995


WITH_RESTARTS = [name for name in ATTACKS if "restarts" in CATALOGUE[name].options]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("attack", WITH_RESTARTS)
def test_restarts_break_more_and_leave_the_first_run_as_it_was(
    blob_model: nn.Module, blob_points: tuple[Tensor, Tensor], attack: str, norm: str
) -> None:
    x, y = blob_points[0][:60], blob_points[1][:60]
    steps, factor = (25, 1.4) if attack == "square" else (3, 0.9)
    once, thrice = (
        attacked(
            blob_model, x, y,
            settings(norm, factor * EPSILON_OF_BLOBS[norm], protocol_of(attack_maker(attack, steps, restarts))),
        )
        for restarts in (1, 3)
    )  # fmt: skip
    first, all_runs = once.report.points, thrice.report.points
    broken = torch.tensor([by == attack for by in first.broken_by])
    assert bool(broken.any())
    assert torch.equal(once.x_adv[broken], thrice.x_adv[broken])
    for row in torch.nonzero(broken).flatten().tolist():
        assert (first.step[row], first.distance[row]) == (all_runs.step[row], all_runs.distance[row])
        assert not all_runs.robust[row]
    assert sum(all_runs.robust) <= sum(first.robust)
    (one,), (three,) = once.report.attacks, thrice.report.attacks
    assert (one.parameters["restarts"], three.parameters["restarts"]) == (1, 3)
    # Whatever stays robust costs three runs instead of one.
    assert three.forward_passes >= one.forward_passes + 2 * sum(all_runs.robust)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("attack", ATTACKS)
def test_going_on_from_anywhere_gives_the_same_bytes(
    blob_model: nn.Module, blob_points: tuple[Tensor, Tensor], attack: str, norm: str
) -> None:
    x, y = blob_points[0][:16], blob_points[1][:16]
    run = settings(norm, EPSILON_OF_BLOBS[norm], protocol_of(attack_maker(attack, 8, restarts=2)), width=8)
    kept: list[Snapshot] = []
    calls = itertools.count()

    def save(snapshot: Callable[[], Snapshot]) -> None:
        if next(calls) in {1, 5, 14}:
            kept.append(snapshot())

    whole = evaluate_points(blob_model, x, y, range(16), run, save=save)
    assert len(kept) >= 1 + (attack != "fgsm")
    for snapshot in kept:
        resumed = evaluate_points(blob_model, x, y, range(16), run, resume=snapshot)
        assert resumed.report.results_sha256() == whole.report.results_sha256()
        assert torch.equal(resumed.x_adv, whole.x_adv)


def test_contract_covers_every_attack_in_every_norm() -> None:
    """The catalogue is what the cases above are made from; these are the attacks it must hold."""
    expected = {
        "apgd-ce", "apgd-dlr", "apgd-t", "fab", "fab-t", "fgsm", "mi-fgsm", "multi-targeted", "pgd", "spsa", "square",
    }  # fmt: skip
    assert set(ATTACKS) >= expected
    assert set(WITH_RESTARTS) == set(ATTACKS) - {"fgsm", "spsa"}
    setting = Setting(norm_named("L1"), 1.0, (3, 8, 8), 10)
    kinds = [type(attack_named(name, setting)) for name in ("apgd-ce", "apgd-dlr", "apgd-t", "square")]
    assert kinds == [ApgdL1, ApgdL1, ApgdL1, SquareL1]
