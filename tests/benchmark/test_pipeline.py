from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import benchmark
from benchmark import Evaluation, EvaluationProgress, ThreatModel, evaluate
from benchmark.attacks.base import Setting
from benchmark.ensemble import Snapshot
from benchmark.errors import EvaluationFailed, InvalidInput, NotFound, UnsupportedNorm
from benchmark.merging import merge_reports
from benchmark.norms import norm_named
from benchmark.pipeline import evaluate_points
from benchmark.protocols import PROTOCOLS, Protocol, few_classes_check, protocol_named
from benchmark.report import CheckOutcome
from benchmark.restrictions import POLICY
from tests.benchmark.models import Cnn, Linear, Robust, Shape, answers, blobs, points
from tests.benchmark.runs import attack_maker, protocol_of, settings

LINF = ThreatModel("Linf", "8/255")
SHAPE: Shape = (1, 4, 4)
SHORT = protocol_of(*(attack_maker(name, 10) for name in ("apgd-ce", "apgd-t", "fab-t", "square")))


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Protocol:
    """The standard protocol, cut short, under its own name."""

    def attacks(setting: Setting) -> tuple[Any, ...]:
        names = [attack.name for attack in PROTOCOLS[0].attacks(setting)]
        return tuple(attack_maker(name, 10)(setting) for name in names)

    protocol = Protocol("standard", 1, attacks)
    monkeypatch.setattr("benchmark.pipeline.protocol_named", lambda name: protocol)
    return protocol


def _case(classes: int, shape: Shape = SHAPE, n: int = 12) -> tuple[nn.Module, Tensor, Tensor]:
    model = Cnn(shape, classes).eval()
    x = points(n, shape, classes)[0]
    y = answers(model, x)
    y[0] = (y[0] + 1) % classes
    return model, x, y


def test_signatures_are_those_of_the_public_contract() -> None:
    parameters = inspect.signature(evaluate).parameters
    assert list(parameters) == [
        "model", "x", "y", "threat_model", "protocol", "seed", "batch_size", "device", "precision", "diagnostics",
        "progress",
    ]  # fmt: skip
    keyword_only = {name: p.default for name, p in parameters.items() if p.kind is inspect.Parameter.KEYWORD_ONLY}
    assert keyword_only == {
        "protocol": "standard",
        "seed": 0,
        "batch_size": None,
        "device": "cpu",
        "precision": "float32",
        "diagnostics": True,
        "progress": None,
    }
    parameters = inspect.signature(benchmark.benchmark).parameters
    assert {name: p.default for name, p in parameters.items() if name != "model"} == {
        "dataset": "cifar10",
        "threat_model": "Linf",
        "n_examples": None,
        "batch_size": None,
        "device": "cpu",
        "data_dir": None,
        "preprocessing": None,
    }
    assert list(inspect.signature(benchmark.check_restrictions).parameters) == ["model", "x", "y", "threat_model"]
    assert set(benchmark.__all__) <= set(dir(benchmark))
    with pytest.raises(AttributeError, match="no attribute 'evaluate_all'"):
        _ = benchmark.evaluate_all


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (2, ["apgd-ce", "fab-t", "square"]),
        (3, ["apgd-ce", "apgd-dlr", "fab-t", "square"]),
        (4, ["apgd-ce", "apgd-t", "fab-t", "square"]),
    ],
)
def test_evaluate_with_few_classes_and_any_channels(
    short: Protocol, classes: int, expected: list[str], channels: int, norm: str
) -> None:
    model, x, y = _case(classes, (channels, 4, 5))
    evaluation = evaluate(model, x, y, ThreatModel(norm, "1/20"), diagnostics=False)
    report = evaluation.report
    assert [attack.name for attack in report.attacks] == expected
    assert report.protocol == short.label
    assert (report.norm, report.epsilon, report.dataset, report.n_points) == (norm, "1/20", None, 12)
    assert report.standard_accuracy == pytest.approx(11 / 12)
    assert 0 <= report.robust_accuracy <= report.standard_accuracy
    assert report.points.index == tuple(range(12))
    assert report.points.label == tuple(y.tolist())
    assert report.points.broken_by[0] == "clean"
    assert report.points.distance[0] == 0
    assert evaluation.x_adv.shape == x.shape
    few = [check for check in report.checks if check.code == "few_classes"]
    assert [check.outcome for check in few] == [CheckOutcome.PASSED if classes >= 4 else CheckOutcome.NOT_ASSESSED]
    codes = [check.code for check in report.checks]
    assert len(codes) == len(set(codes)) > sum(rule.on_model is not None for rule in POLICY.restrictions)


def test_each_attack_runs_on_the_survivors_of_those_before(short: Protocol) -> None:
    model, x, y = _case(4, n=40)
    report = evaluate(model, x, y, LINF, diagnostics=False).report
    left = 39
    for attack in report.attacks:
        assert attack.attacked == left
        left -= attack.broken
        assert report.points.broken_by.count(attack.name) == attack.broken
    assert left == sum(report.points.robust)


@pytest.mark.parametrize(
    ("classes", "norm", "steps"),
    [
        (10, "Linf", [("apgd-ce", 0, 101), ("apgd-t", 9, 101), ("fab-t", 9, 100), ("square", 0, 5000)]),
        (5, "L2", [("apgd-ce", 0, 101), ("apgd-t", 4, 101), ("fab-t", 4, 100), ("square", 0, 5000)]),
        (3, "L2", [("apgd-ce", 0, 101), ("apgd-dlr", 0, 101), ("fab-t", 2, 100), ("square", 0, 5000)]),
        (2, "Linf", [("apgd-ce", 0, 101), ("fab-t", 1, 100), ("square", 0, 5000)]),
    ],
)
def test_standard_protocol(classes: int, norm: str, steps: list[tuple[str, int, int]]) -> None:
    attacks = protocol_named("standard").attacks(Setting(norm_named(norm), 0.1, (3, 32, 32), classes))
    assert [(attack.name, attack.targets, attack.steps) for attack in attacks] == steps
    assert [attack.restarts for attack in attacks] == [1] * len(attacks)
    fab = next(attack for attack in attacks if attack.name == "fab-t")
    assert {name: fab.parameters[name] for name in ("alpha_max", "eta", "beta")} == {
        "alpha_max": 0.1,
        "eta": 1.05,
        "beta": 0.9,
    }
    assert attacks[0].parameters["rho"] == 0.75
    assert attacks[-1].parameters["p_init"] == 0.8


def test_protocols_are_found_by_name_and_label() -> None:
    assert protocol_named("standard") is protocol_named("standard-1")
    assert [protocol.label for protocol in PROTOCOLS] == ["standard-1", "plus-1", "rand-1", "mixed-1", "follow-up-1"]
    assert few_classes_check(4).outcome is CheckOutcome.PASSED


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (10, [("apgd-ce", 5, 0), ("apgd-t", 1, 5), ("fab-t", 1, 9), ("square", 1, 0)]),
        (3, [("apgd-ce", 5, 0), ("apgd-dlr", 5, 0), ("fab-t", 1, 2), ("square", 1, 0)]),
        (2, [("apgd-ce", 5, 0), ("fab-t", 1, 1), ("square", 1, 0)]),
    ],
)
def test_standard_protocol_in_l1(classes: int, expected: list[tuple[str, int, int]]) -> None:
    attacks = protocol_named("standard").attacks(Setting(norm_named("L1"), 12, (3, 32, 32), classes))
    assert [(attack.name, attack.restarts, attack.targets) for attack in attacks] == expected
    assert attacks[0].parameters["radii"] == "3, 2, 1"
    assert [attack.steps for attack in attacks[-2:]] == [100, 5000]


def test_plus_and_rand() -> None:
    setting = Setting(norm_named("L2"), 0.5, (3, 32, 32), 10)
    plus = [(attack.name, attack.restarts, attack.targets) for attack in protocol_named("plus").attacks(setting)]
    assert plus == [
        ("apgd-ce", 5, 0), ("apgd-dlr", 5, 0), ("fab", 5, 0), ("square", 1, 0), ("apgd-t", 1, 9), ("fab-t", 1, 9),
    ]  # fmt: skip
    few = replace(setting, classes=2)
    assert [attack.name for attack in protocol_named("plus").attacks(few)] == ["apgd-ce", "fab", "square", "fab-t"]
    rand = protocol_named("rand").attacks(setting)
    assert [(attack.name, attack.parameters["eot"]) for attack in rand] == [("apgd-ce", 20), ("apgd-dlr", 20)]
    assert [attack.name for attack in protocol_named("rand").attacks(few)] == ["apgd-ce"]


def test_protocols_are_composed_by_name() -> None:
    setting = Setting(norm_named("Linf"), 0.1, (3, 32, 32), 10)
    protocol = protocol_named("pgd( steps=7, restarts=3, step_size=0.02 )+square(queries=1000)+apgd-t")
    assert protocol.label == "pgd(restarts=3,step_size=0.02,steps=7)+square(queries=1000)+apgd-t-1"
    pgd, square, apgd = protocol.attacks(setting)
    assert pgd.parameters == {"iterations": 7, "step_size": 0.02, "restarts": 3, "targets": 0}
    assert (square.steps, apgd.targets) == (1000, 9)
    assert protocol_named(protocol.label).label == protocol.label
    assert protocol_named("fab").attacks(setting)[0].name == "fab"
    with pytest.raises(InvalidInput, match="at least 4 classes"):
        protocol.attacks(replace(setting, classes=3))
    with pytest.raises(InvalidInput, match="90 characters"):
        protocol_named("+".join(f"{name}(restarts=100000)" for name in ("fab", "pgd", "square", "apgd-ce", "apgd-dlr")))


def test_composed_protocol_runs_in_order() -> None:
    model, x, y = _case(4, n=20)
    report = evaluate(model, x, y, LINF, protocol="fgsm+pgd(steps=5)", diagnostics=False).report
    assert report.protocol == "fgsm+pgd(steps=5)-1"
    assert [attack.name for attack in report.attacks] == ["fgsm", "pgd"]
    assert report.attacks[1].attacked == report.attacks[0].attacked - report.attacks[0].broken


def test_progress_only_rises(short: Protocol) -> None:
    model, x, y = _case(4, n=30)
    seen: list[EvaluationProgress] = []
    report = evaluate(model, x, y, LINF, batch_size=8, diagnostics=False, progress=seen.append).report
    assert len(seen) >= 2 * 4  # at least the first step and the end of every attack
    for earlier, later in pairwise(seen):
        assert (earlier.attacks_done, earlier.fraction) <= (later.attacks_done, later.fraction)
        assert earlier.points_done <= later.points_done
        assert earlier.robust_accuracy_at_most >= later.robust_accuracy_at_most
        assert earlier.robust_interval_at_most.high >= later.robust_interval_at_most.high
        assert (earlier.forward_passes, earlier.backward_passes) <= (later.forward_passes, later.backward_passes)
    assert {(progress.points, progress.attacks) for progress in seen} == {(30, 4)}
    assert (seen[-1].attacks_done, seen[-1].fraction) == (3, 1)
    assert seen[-1].attack == "square"
    assert seen[-1].robust_accuracy_at_most == pytest.approx(report.robust_accuracy)
    assert seen[-1].robust_interval_at_most == report.robust_interval
    assert seen[-1].forward_passes == sum(attack.forward_passes for attack in report.attacks)
    assert seen[-1].backward_passes == sum(attack.backward_passes for attack in report.attacks)


def test_exception_from_progress_ends_the_run_and_leaves_the_model(short: Protocol) -> None:
    class Stop(Exception):
        pass

    model, x, y = _case(4)
    model.train()
    calls: list[EvaluationProgress] = []

    def progress(now: EvaluationProgress) -> None:
        calls.append(now)
        if len(calls) == 5:
            raise Stop

    with pytest.raises(Stop):
        evaluate(model, x, y, LINF, diagnostics=False, progress=progress)
    assert len(calls) == 5
    assert all(module.training for module in model.modules())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("norm", ["Linf", pytest.param("L2", marks=pytest.mark.slow)])
def test_resuming_anywhere_gives_the_same_bytes(blob_model: nn.Module, norm: str) -> None:
    x, y = blobs(40, seed=8)
    run = settings(norm, {"Linf": 0.12, "L2": 0.7}[norm], SHORT, width=16)
    kept: list[Snapshot] = []
    calls: list[int] = []

    def save(snapshot: Callable[[], Snapshot]) -> None:
        calls.append(1)
        if len(calls) % 13 == 5:
            kept.append(snapshot())

    whole = evaluate_points(blob_model, x, y, range(40), run, save=save)
    assert len({len(snapshot["counts"]) for snapshot in kept}) >= 3
    assert len(set(whole.report.points.broken_by)) >= 3
    for snapshot in kept:
        for _ in range(2):
            resumed = evaluate_points(blob_model, x, y, range(40), run, resume=snapshot)
            assert resumed.report.results_sha256() == whole.report.results_sha256()
            assert torch.equal(resumed.x_adv, whole.x_adv)


@pytest.mark.parametrize(
    ("attack", "norm", "kind"),
    [
        ("apgd-ce", "Linf", "Apgd"),
        ("apgd-t", "L2", "Apgd"),
        ("apgd-ce", "L1", "ApgdL1"),
        ("fab", "Linf", "Fab"),
        ("fab-t", "L2", "FabT"),
        ("square", "Linf", "SquareLinf"),
        ("square", "L2", "SquareL2"),
        ("square", "L1", "SquareL1"),
        ("pgd", "Linf", "Pgd"),
        ("mi-fgsm", "L2", "Momentum"),
        ("spsa", "Linf", "Spsa"),
    ],
)
def test_cancelled_in_the_middle_of_an_attack_and_resumed_it_ends_with_the_same_bytes(
    blob_model: nn.Module, attack: str, norm: str, kind: str
) -> None:
    class Cancelled(Exception):
        pass

    x, y = blobs(40, seed=8)
    epsilon = {"Linf": 0.1, "L2": 0.6, "L1": 3.0}[norm]
    makers = [attack_maker("fgsm", 1), attack_maker(attack, 12)]
    assert type(makers[1](Setting(norm_named(norm), epsilon, (1, 8, 8), 4))).__name__ == kind
    run = settings(norm, epsilon, protocol_of(*makers), width=16)
    told: list[EvaluationProgress] = []
    whole = evaluate_points(blob_model, x, y, range(40), run, progress=told.append)
    assert whole.report.attacks[1].attacked > 16  # more than one batch, so that slots stand at different steps

    kept: list[Snapshot] = []

    def cancel(snapshot: Callable[[], Snapshot]) -> None:
        now = snapshot()
        if len(now["counts"]) == 1 and int(now["engine.slot.step"].max()) == 7:
            kept.append(now)
            raise Cancelled

    with pytest.raises(Cancelled):
        evaluate_points(blob_model, x, y, range(40), run, save=cancel)
    (snapshot,) = kept
    told_again: list[EvaluationProgress] = []
    resumed = evaluate_points(blob_model, x, y, range(40), run, progress=told_again.append, resume=snapshot)
    assert resumed.report.results_sha256() == whole.report.results_sha256()
    assert torch.equal(resumed.x_adv, whole.x_adv)
    spent = int(snapshot["counts"][0, 3]) + int(snapshot["engine.passes"][0])
    assert told_again[0].attacks_done == 1
    assert told_again[0].forward_passes > spent > whole.report.attacks[0].forward_passes
    assert told_again[-1] == told[-1]


def test_seeds_move_results_and_equal_seeds_do_not(short: Protocol) -> None:
    model, x, y = _case(4, n=30)
    one, same, other = (evaluate(model, x, y, LINF, seed=seed, diagnostics=False) for seed in (0, 0, 1))
    assert one.report.results_sha256() == same.report.results_sha256()
    assert torch.equal(one.x_adv, same.x_adv)
    assert not torch.equal(one.x_adv, other.x_adv)
    assert other.report.provenance.seed == 1


def test_provenance_says_what_ran(short: Protocol) -> None:
    model, x, y = _case(4)
    provenance = evaluate(model, x, y, LINF, batch_size=3, diagnostics=False).report.provenance
    assert provenance.slot_width == 8
    assert (provenance.precision, provenance.device, provenance.threads) == ("float32", "cpu", 1)
    assert provenance.versions["torch"] == torch.__version__
    assert provenance.checkpoint_sha256 is None
    assert provenance.seconds > 0


@pytest.mark.slow
def test_callers_gradients_and_modes_do_not_matter(short: Protocol) -> None:
    """Points that want gradients; inference mode, no_grad and autocast around the call: always the same result."""
    model, x, y = _case(4, n=20)
    plain = evaluate(model, x, y, LINF)
    assert plain.report.robust_accuracy < plain.report.standard_accuracy
    others: list[Evaluation] = [evaluate(model, x.clone().requires_grad_(), y, LINF)]
    with torch.inference_mode():
        others.append(evaluate(model, x, y, LINF))
        others.append(evaluate(model, x.clone(), y.clone(), LINF))
    with torch.no_grad():
        others.append(evaluate(model, x, y, LINF))
    with torch.autocast("cpu", torch.bfloat16):
        others.append(evaluate(model, x, y, LINF))
    others.append(evaluate(model, x.to(memory_format=torch.channels_last), y, LINF))
    for other in others:
        assert not other.x_adv.requires_grad
        assert other.report.results_sha256() == plain.report.results_sha256()


BAD_POINTS: dict[str, tuple[Any, Any, str]] = {
    "flat": (torch.rand(4, 16), torch.zeros(4, dtype=torch.int64), "x"),
    "scalar": (torch.tensor(0.5), torch.zeros(4, dtype=torch.int64), "x"),
    "float64": (torch.rand(4, *SHAPE).double(), torch.zeros(4, dtype=torch.int64), "x"),
    "bytes": (torch.zeros(4, *SHAPE, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64), "x"),
    "numpy": (np.zeros((4, *SHAPE), dtype=np.float32), torch.zeros(4, dtype=torch.int64), "x"),
    "list": ([[0.5]], torch.zeros(4, dtype=torch.int64), "x"),
    "above one": (torch.rand(4, *SHAPE) * 255, torch.zeros(4, dtype=torch.int64), "x"),
    "below zero": (torch.rand(4, *SHAPE) - 0.5, torch.zeros(4, dtype=torch.int64), "x"),
    "nan": (torch.full((4, *SHAPE), torch.nan), torch.zeros(4, dtype=torch.int64), "x"),
    "one nan": (torch.rand(4, *SHAPE).index_fill(0, torch.tensor([2]), torch.nan), torch.zeros(4).long(), "x"),
    "none": (torch.rand(0, *SHAPE), torch.zeros(0, dtype=torch.int64), "x"),
    "no pixels": (torch.rand(4, 1, 0, 4), torch.zeros(4, dtype=torch.int64), "x"),
    "int32 labels": (torch.rand(4, *SHAPE), torch.zeros(4, dtype=torch.int32), "y"),
    "too few labels": (torch.rand(4, *SHAPE), torch.zeros(3, dtype=torch.int64), "y"),
    "labels in a column": (torch.rand(4, *SHAPE), torch.zeros(4, 1, dtype=torch.int64), "y"),
    "one label": (torch.rand(4, *SHAPE), torch.tensor(0), "y"),
    "negative label": (torch.rand(4, *SHAPE), torch.tensor([0, 1, -1, 0]), "y"),
    "label beyond the logits": (torch.rand(4, *SHAPE), torch.tensor([0, 1, 9, 0]), "y"),
    "list of labels": (torch.rand(4, *SHAPE), [0, 0, 0, 0], "y"),
}


@pytest.mark.parametrize("name", BAD_POINTS)
def test_bad_points_are_refused_with_a_remedy(name: str) -> None:
    x, y, field = BAD_POINTS[name]
    with pytest.raises(InvalidInput) as caught:
        evaluate(Cnn(SHAPE, 4).eval(), x, y, LINF)
    detail = caught.value.detail
    assert detail is not None
    assert detail.field == field
    assert detail.found
    assert detail.expected
    assert detail.remedy


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"precision": "bfloat16"}, "precision"),
        ({"precision": "mixed"}, "precision"),
        ({"protocol": "minus"}, "protocol"),
        ({"protocol": "apgd-ce+"}, "protocol"),
        ({"protocol": "square+square"}, "protocol"),
        ({"protocol": "square(steps=3)"}, "protocol"),
        ({"protocol": "pgd(steps=2.5)"}, "protocol"),
        ({"protocol": "pgd(step_size=nan)"}, "protocol"),
        ({"protocol": "pgd(steps=1,steps=2)"}, "protocol"),
        ({"protocol": "pgd(restarts=0)"}, "protocol"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": -8}, "batch_size"),
        ({"device": "abacus"}, "device"),
        ({"device": "meta"}, "device"),
    ],
    ids=str,
)
def test_bad_arguments_are_refused_with_a_remedy(arguments: dict[str, Any], field: str) -> None:
    model, x, y = _case(4)
    with pytest.raises(InvalidInput) as caught:
        evaluate(model, x, y, LINF, **arguments)
    assert caught.value.detail is not None
    assert caught.value.detail.field == field
    assert caught.value.detail.remedy


def test_norm_without_the_protocol_is_refused_before_the_model_runs() -> None:
    class Untouchable(Cnn):
        def forward(self, x: Tensor) -> Tensor:
            raise AssertionError("ran")

    x, y = torch.rand(2, *SHAPE), torch.zeros(2, dtype=torch.int64)
    with pytest.raises(UnsupportedNorm, match="plus"):
        evaluate(Untouchable(SHAPE, 4), x, y, ThreatModel("L1", 12), protocol="plus")


def test_one_logit_is_no_classifier() -> None:
    with pytest.raises(InvalidInput, match="1 logits"):
        evaluate(Cnn(SHAPE, 1), torch.rand(2, *SHAPE), torch.zeros(2, dtype=torch.int64), LINF)


@pytest.mark.parametrize("answer", ["tuple", "flat", "short"])
def test_unusable_answers_fail_the_run(answer: str) -> None:
    class Odd(Cnn):
        def forward(self, x: Tensor) -> Tensor:
            logits = super().forward(x)
            return {"tuple": (logits,), "flat": logits.flatten(), "short": logits[1:]}[answer]  # type: ignore[return-value]

    with pytest.raises(EvaluationFailed, match="answered 8 images with"):
        evaluate(Odd(SHAPE, 4), torch.rand(2, *SHAPE), torch.zeros(2, dtype=torch.int64), LINF)


def test_model_that_answers_nan_is_wrong_everywhere(short: Protocol) -> None:
    class Broken(Cnn):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * torch.nan

    report = evaluate(Broken(SHAPE, 4), torch.rand(3, *SHAPE), torch.zeros(3, dtype=torch.int64), LINF).report
    assert (report.standard_accuracy, report.robust_accuracy) == (0, 0)
    assert "non_finite_output" in {check.code for check in report.findings}


def test_model_that_answers_nan_to_attacks_is_not_robust(short: Protocol) -> None:
    class Brittle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.robust = Robust(SHAPE, 4)

        def forward(self, x: Tensor) -> Tensor:
            changed = (x != x.round(decimals=1)).flatten(1).any(1, keepdim=True)
            return torch.where(changed, torch.nan, torch.as_tensor(self.robust(x)))

    x = torch.rand(5, *SHAPE).round(decimals=1)
    report = evaluate(Brittle(), x, torch.zeros(5, dtype=torch.int64), ThreatModel("Linf", "1/30")).report
    assert (report.standard_accuracy, report.robust_accuracy) == (1, 0)


def test_shards_find_what_the_whole_run_finds(blob_model: nn.Module, blob_points: tuple[Tensor, Tensor]) -> None:
    """Draws belong to the point's place in the data set, so that the shard it lies in does not matter."""
    x, y = blob_points
    run = settings("Linf", 0.12, SHORT)
    whole = evaluate_points(blob_model, x, y, range(200), run).report
    shards = [
        evaluate_points(blob_model, x[first:last], y[first:last], range(first, last), run).report
        for first, last in ((0, 50), (50, 120), (120, 200))
    ]
    merged = merge_reports(shards, whole.checks)
    assert merged.n_points == 200
    agree = sum(a == b for a, b in zip(merged.points.robust, whole.points.robust, strict=True))
    assert agree >= 199
    assert merged.attacks[0].attacked == whole.attacks[0].attacked


def test_benchmark_gives_two_accuracies_of_an_official_board(short: Protocol) -> None:
    model = Linear((1, 8, 8), 10)
    standard_accuracy, robust_accuracy = benchmark.benchmark(model, dataset="digits", threat_model="L2", n_examples=20)
    assert 0 <= robust_accuracy <= standard_accuracy <= 1
    assert standard_accuracy * 20 == pytest.approx(round(standard_accuracy * 20))


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"dataset": "digits", "threat_model": "L1"}, NotFound),
        ({"dataset": "cifar10", "threat_model": "Linf"}, NotFound),
        ({"dataset": "cifar10", "threat_model": "corruptions"}, InvalidInput),
        ({"dataset": "digits", "threat_model": "Linf", "n_examples": 0}, InvalidInput),
        ({"dataset": "digits", "threat_model": "Linf", "n_examples": 501}, InvalidInput),
    ],
    ids=str,
)
def test_benchmark_refuses_what_it_cannot_do(arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        benchmark.benchmark(Linear((1, 8, 8), 10), **arguments)
