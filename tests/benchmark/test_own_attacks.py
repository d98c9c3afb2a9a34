"""Attacks that somebody brings along: judged by our judge, and unable to change anything that the next batch sees."""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmark.ensemble import EvaluationProgress
from benchmark.errors import EvaluationFailed, InvalidInput
from benchmark.judging import misclassified
from benchmark.own_attacks import OwnAttack
from benchmark.own_evaluation import OwnRun, evaluate_own
from benchmark.pipeline import Evaluation, evaluate
from benchmark.report import CheckOutcome
from benchmark.threat_models import ThreatModel
from tests.benchmark.models import Cnn, Linear, Shape, answers, points

SHAPE: Shape = (1, 4, 4)
N, WIDTH = 40, 16
BUDGET = ThreatModel("Linf", "1/10")
MODEL = Cnn(SHAPE, 3).eval()
X = 0.3 + 0.4 * points(N, SHAPE, 3)[0]
Y = answers(MODEL, X)
Function = Callable[..., object]


def run_of(function: Function, seed: int = 0, budget: ThreatModel = BUDGET) -> OwnRun:
    return OwnRun(OwnAttack.of(function, "mine.py:attack", "0" * 64), budget, seed, WIDTH)


def evaluated(function: Function, seed: int = 0, model: nn.Module = MODEL, y: Tensor = Y) -> Evaluation:
    return evaluate_own(model, X, y, range(N), run_of(function, seed))


def flagged(evaluation: Evaluation) -> set[str]:
    return {check.code for check in evaluation.report.checks if check.outcome is CheckOutcome.FLAGGED}


def fgsm(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    x_adv = x.clone().requires_grad_()
    functional.cross_entropy(model(x_adv), y).backward()
    assert x_adv.grad is not None
    return x + epsilon * x_adv.grad.sign()


@pytest.mark.parametrize("seed", range(3))
def test_one_gradient_step_is_optimal_on_a_linear_model_of_two_classes(seed: int) -> None:
    """Within the box no point is farther from the boundary than margin / ‖w‖₁, and FGSM walks straight to it."""
    model = Linear(SHAPE, 2, seed)
    x = 0.3 + 0.4 * points(200, SHAPE, 2, seed)[0]
    y = answers(model, x)
    with torch.no_grad():
        logits = model(x).double()
        margin = (logits[:, 0] - logits[:, 1]).abs()
        reach = 0.02 * (model.weight[0] - model.weight[1]).double().abs().sum()
    exact = float((margin > reach).double().mean())
    report = evaluate_own(model, x, y, range(200), run_of(fgsm, budget=ThreatModel("Linf", "1/50"))).report
    assert 0 < exact < 1
    assert report.robust_accuracy == exact
    (outcome,) = report.attacks
    assert (outcome.attacked, outcome.forward_passes, outcome.backward_passes, outcome.over_budget) == (
        200,
        200,
        200,
        0,
    )


def test_every_verdict_is_the_judges_own() -> None:
    evaluation = evaluated(fgsm)
    report, x_adv = evaluation.report, evaluation.x_adv
    assert report.protocol == "mine.py:attack@000000000000"
    assert 0 < report.robust_accuracy < report.standard_accuracy == 1
    with torch.no_grad():
        wrong = misclassified(MODEL(x_adv), Y)
    assert wrong.tolist() == [not robust for robust in report.points.robust]
    assert float((x_adv - X).abs().max()) <= 0.1 + 1e-6
    assert torch.equal(x_adv[~wrong], X[~wrong])
    assert not flagged(evaluation)


def test_points_that_are_misclassified_clean_are_not_attacked() -> None:
    y = Y.clone()
    y[::2] = (y[::2] + 1) % 3
    seen: list[int] = []

    def count(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        seen.append(len(x))
        return x

    report = evaluated(count, y=y).report
    assert seen == [16, 4]
    assert (report.attacks[0].attacked, report.standard_accuracy, report.robust_accuracy) == (20, 0.5, 0.5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x_adv, x: x + 2 * (x_adv - x), "over the budget"),
        (lambda x_adv, x: x_adv * torch.nan, "NaN or infinite"),
        (lambda x_adv, x: x_adv + 1, "outside [0, 1]"),
        (lambda x_adv, x: x_adv - 1, "outside [0, 1]"),
    ],
    ids=["twice the budget", "NaN", "above", "below"],
)
def test_an_example_that_is_not_allowed_breaks_nothing(change: Callable[[Tensor, Tensor], Tensor], words: str) -> None:
    evaluation = evaluated(lambda model, x, y, epsilon: change(fgsm(model, x, y, epsilon), x))
    report = evaluation.report
    assert report.robust_accuracy == report.standard_accuracy
    assert report.attacks[0].over_budget == N
    assert flagged(evaluation) == {"refused_examples"}
    (check,) = [check for check in report.checks if check.code == "refused_examples"]
    assert words in check.message
    assert torch.equal(evaluation.x_adv, X)


def test_only_the_refused_examples_of_a_batch_are_lost() -> None:
    def half(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        x_adv = fgsm(model, x, y, epsilon)
        x_adv[::2] += 1
        return x_adv

    whole, found = evaluated(fgsm).report.points, evaluated(half).report
    assert found.attacks[0].over_budget == N / 2
    assert [robust for place, robust in enumerate(found.points.robust) if place % 2] == list(whole.robust[1::2])


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (lambda x: (x, x), "tuple"),
        (lambda x: None, "NoneType"),
        (lambda x: x.numpy(), "ndarray"),
        (lambda x: x.flatten(1), "torch.float32, (16, 16)"),
        (lambda x: x[:-1], "torch.float32, (15, 1, 4, 4)"),
        (lambda x: (255 * x).to(torch.uint8), "torch.uint8"),
        (lambda x: x.to("meta"), "(16, 1, 4, 4)"),
        (lambda x: x.to_sparse(), "(16, 1, 4, 4)"),
    ],
    ids=["tuple", "nothing", "numpy", "flat", "too few", "bytes", "no values", "sparse"],
)
def test_what_is_no_image_for_each_point_is_an_error(returned: Callable[[Tensor], object], words: str) -> None:
    with pytest.raises(EvaluationFailed) as failed:
        evaluated(lambda model, x, y: returned(x))
    assert failed.value.detail is not None
    assert (failed.value.detail.field, words in failed.value.detail.found) == ("attack", True)
    assert "(16, 1, 4, 4)" in failed.value.detail.expected


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_other_floats_are_judged_as_float32(dtype: torch.dtype) -> None:
    def fgsm_in(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        return (x + 0.9 * (fgsm(model, x, y, epsilon) - x)).to(dtype)

    evaluation = evaluated(fgsm_in)
    assert evaluation.x_adv.dtype == torch.float32
    assert evaluation.report.attacks[0].over_budget == 0
    assert evaluation.report.robust_accuracy < 1


def test_an_exception_names_the_lines_of_the_functions_own_files() -> None:
    calls: list[int] = []

    def third(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        calls.append(len(x))
        if len(calls) == 3:
            model(x.flatten(1))
        return x

    with pytest.raises(EvaluationFailed) as failed:
        evaluated(third)
    assert calls == [16, 16, 8]
    assert failed.value.detail is not None
    found = failed.value.detail.found
    assert found.startswith("RuntimeError: ")
    assert "test_own_attacks.py, line " in found
    assert "in third: model(x.flatten(1))" in found
    assert "module.py" not in found
    assert len(failed.value.message) < 900


@pytest.mark.parametrize("error", [RecursionError, MemoryError, SystemExit, StopIteration])
def test_whatever_it_raises_is_its_own_failure(error: type[BaseException]) -> None:
    def raises(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        raise error

    with pytest.raises(EvaluationFailed, match=error.__name__):
        evaluated(raises)


def test_an_interruption_is_not_swallowed() -> None:
    def interrupted(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluated(interrupted)


def _zeroes(model: nn.Module) -> None:
    for parameter in model.parameters():
        parameter.zero_()


def _trains(model: nn.Module) -> None:
    model.train()


def _adapts(model: nn.Module) -> None:
    model.train()
    model(torch.rand(8, *SHAPE))
    model.eval()


def _takes_gradients(model: nn.Module) -> None:
    model.requires_grad_()
    model(torch.rand(8, *SHAPE)).sum().backward()
    model.requires_grad_(False)


def _replaces(model: nn.Module) -> None:
    model.norm = nn.Identity()


@pytest.mark.parametrize("change", [_zeroes, _trains, _adapts, _takes_gradients, _replaces])
def test_a_changed_model_is_told_and_reaches_neither_the_next_batch_nor_the_judge(
    change: Callable[[nn.Module], None],
) -> None:
    model = copy.deepcopy(MODEL).train()
    before = copy.deepcopy(model.state_dict())

    def meddles(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        x_adv = fgsm(model, x, y, epsilon)
        with torch.set_grad_enabled(change is _takes_gradients):
            change(model)
        return x_adv

    evaluation = evaluated(meddles, model=model)
    assert flagged(evaluation) == {"changed_model"}
    assert evaluation.report.points == evaluated(fgsm).report.points
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def test_points_that_are_changed_in_place_are_told_and_judged_against_the_clean_ones() -> None:
    def in_place(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        x += fgsm(model, x, y, epsilon) - x
        y.zero_()
        return x

    before = X.clone(), Y.clone()
    evaluation = evaluated(in_place)
    assert flagged(evaluation) == {"changed_points"}
    assert evaluation.report.attacks[0].over_budget == 0
    assert evaluation.report.points.robust == evaluated(fgsm).report.points.robust
    assert torch.equal(X, before[0])
    assert torch.equal(Y, before[1])


def test_what_is_written_into_examples_later_changes_no_verdict() -> None:
    kept: list[Tensor] = []

    def remembers(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        for old in kept:
            old.fill_(2)
        kept.append(fgsm(model, x, y, epsilon))
        return kept[-1]

    evaluation, plain = evaluated(remembers), evaluated(fgsm)
    assert torch.equal(evaluation.x_adv, plain.x_adv)
    assert evaluation.report.points == plain.report.points


def test_examples_that_are_the_clean_images_are_told() -> None:
    evaluation = evaluated(lambda model, x, y: x)
    assert flagged(evaluation) == {"unmoved_examples"}
    assert evaluation.report.robust_accuracy == 1


def test_settings_of_the_process_are_told_and_put_back() -> None:
    def meddles(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        x_adv = fgsm(model, x, y, epsilon)
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        return x_adv

    with torch.no_grad():
        evaluation = evaluated(meddles)
        assert not torch.is_grad_enabled()
    assert torch.is_grad_enabled()
    assert torch.get_default_dtype() == torch.float32
    assert flagged(evaluation) == {"changed_settings"}
    assert evaluation.report.points == evaluated(fgsm).report.points


def test_global_random_numbers_follow_the_seed_and_are_given_back() -> None:
    drawn: list[tuple[float, float, float]] = []

    def draws(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        drawn.append((float(torch.rand(1)), float(np.random.rand()), random.random()))  # noqa: S311
        return x

    before = torch.random.get_rng_state(), repr(np.random.get_state()), random.getstate()
    runs = [evaluated(draws, seed) for seed in (1, 1, 2)]
    after = torch.random.get_rng_state(), repr(np.random.get_state()), random.getstate()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]
    assert drawn[:3] == drawn[3:6]
    for generator in zip(*drawn[3:], strict=True):
        assert len(set(generator)) == 6  # three batches, two seeds
    assert {_value(run, "global_random_numbers") for run in runs} == {1.0}
    assert _value(evaluated(fgsm), "global_random_numbers") == 0.0


def _value(evaluation: Evaluation, code: str) -> float | None:
    (check,) = [check for check in evaluation.report.checks if check.code == code]
    return check.value


def test_each_batch_has_a_seed_of_its_own() -> None:
    seeds: list[int] = []

    def listens(model: nn.Module, x: Tensor, y: Tensor, **given: object) -> Tensor:
        assert (given["norm"], given["epsilon"]) == ("Linf", 0.1)
        assert isinstance(given["seed"], int)
        seeds.append(given["seed"])
        assert torch.initial_seed() == given["seed"]
        return x

    evaluated(listens)
    evaluated(listens)
    assert seeds[:3] == seeds[3:]
    assert len(set(seeds)) == 3
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_passes_through_a_copy_of_the_model_count_too() -> None:
    def copies(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        with torch.no_grad():
            copy.deepcopy(model)(x[:3])
        return fgsm(copy.deepcopy(model), x, y, epsilon)

    (outcome,) = evaluated(copies).report.attacks
    assert (outcome.forward_passes, outcome.backward_passes) == (N + 3 * 3, N)


def test_progress_is_told_after_every_batch() -> None:
    told: list[EvaluationProgress] = []
    report = evaluate_own(MODEL, X, Y, range(N), run_of(fgsm), progress=told.append).report
    assert [progress.fraction for progress in told] == [0.4, 0.8, 1.0]
    assert told[-1].robust_accuracy_at_most == report.robust_accuracy
    assert [progress.forward_passes for progress in told] == [16, 32, 40]


@pytest.mark.parametrize(
    "function",
    [
        lambda model, x: x,
        lambda model, x, y, steps: x,
        lambda norm, x, y: x,
        lambda model, x, y, eps: x,
        "fgsm",
    ],
    ids=["two", "another", "norm first", "eps", "no function"],
)
def test_a_function_that_cannot_be_called_is_refused_before_anything_runs(function: object) -> None:
    with pytest.raises(InvalidInput) as refused:
        OwnAttack.of(function, "mine.py:attack")
    assert refused.value.detail is not None
    assert refused.value.detail.field == "attack"
    assert "(model, x, y, *, norm, epsilon, seed)" in refused.value.detail.expected


@pytest.mark.parametrize(
    ("function", "keywords"),
    [
        (lambda images, labels, targets: images, ()),
        (lambda model, x, y, norm, epsilon: x, ("norm", "epsilon")),
        (lambda model, x, y, *, seed, steps=3: x, ("seed",)),
        (lambda *given, **more: given[1], ("norm", "epsilon", "seed")),
    ],
)
def test_a_function_is_given_what_it_takes(function: Function, keywords: tuple[str, ...]) -> None:
    assert OwnAttack.of(function, "mine.py:attack").keywords == keywords


def test_the_librarys_own_attacks_can_be_called_from_within() -> None:
    """With the passes that the library itself counts, and those of its judge and its checks of the model."""

    def library(model: nn.Module, x: Tensor, y: Tensor, norm: str, epsilon: float) -> Tensor:
        budget = ThreatModel(norm, epsilon)
        return evaluate(model, x, y, budget, protocol="apgd-ce(steps=5)", diagnostics=False).x_adv

    found = evaluated(library)
    alone = evaluate(MODEL, X, Y, BUDGET, protocol="apgd-ce(steps=5)", diagnostics=False).report
    assert found.report.robust_accuracy == pytest.approx(alone.robust_accuracy, abs=2 / N)
    assert found.report.attacks[0].forward_passes > alone.attacks[0].forward_passes
    assert not flagged(found)


def test_time_that_a_function_takes_is_counted() -> None:
    def slow(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        time.sleep(0.02)
        return x

    (outcome,) = evaluated(slow).report.attacks
    assert outcome.seconds >= 3 * 0.02
