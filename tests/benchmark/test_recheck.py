"""The re-check of examples: the engine's own judge once more, and nothing that the examples' author says."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmark import ThreatModel, evaluate
from benchmark.classifier import Classifier
from benchmark.errors import EvaluationFailed, GauntletError, InvalidInput
from benchmark.judging import judge
from benchmark.norms import norm_named
from benchmark.recheck import recheck
from benchmark.verdicts import Verdict, Verdicts, largest_distance
from tests.benchmark.models import Cnn, Linear, Shape, answers, points

SHAPE: Shape = (1, 8, 8)
BUDGETS = {"Linf": "1/10", "L2": "4/5", "L1": "2"}
EPSILON = ThreatModel("Linf", "1/10")


class Brightness(nn.Module):
    """Class 1 for images whose first pixel is above a half."""

    def forward(self, x: Tensor) -> Tensor:
        first = x.flatten(1)[:, 0]
        return torch.stack((0.5 - first, first - 0.5), 1)


class Writing(nn.Module):
    """A model that blackens the images it is given, once it has its answer."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        logits = self.model(x).clone()
        x.zero_()
        return torch.as_tensor(logits)


def moved(x: Tensor, reach: float, seed: int = 3) -> Tensor:
    """Images up to some distance away, some of them outside the box."""
    generator = torch.Generator().manual_seed(seed)
    scale = torch.rand(len(x), 1, 1, 1, generator=generator)
    return x + (2 * torch.rand(x.shape, generator=generator) - 1) * scale * reach


@pytest.mark.parametrize("norm", BUDGETS)
def test_agrees_with_the_engines_judge(blob_model: Cnn, blob_points: tuple[Tensor, Tensor], norm: str) -> None:
    x, y = blob_points[0], blob_points[1].clone()
    y[::4] = (y[::4] + 1) % 4  # misclassified clean
    x_adv = moved(x, 0.3)
    x_adv[::2] = x_adv[::2].clamp(0, 1)
    x_adv[5, 0, 0, 0] = torch.nan
    budget = ThreatModel(norm, BUDGETS[norm])
    found = recheck(blob_model, x, y, x_adv, range(len(x)), budget)
    with torch.no_grad():
        judgement = judge(
            Classifier(blob_model, SHAPE, 64), x.flatten(1), y, x_adv.flatten(1), norm_named(norm), budget.radius
        )
    assert set(found.verdict) == set(Verdict)  # or the test would show little
    assert found.verdict == judgement.verdicts
    assert found.broken == tuple(torch.nonzero(judgement.broken).flatten().tolist())
    refused = {Verdict.NOT_FINITE, Verdict.OUTSIDE_BOX, Verdict.OVER_BUDGET}
    assert [verdict in refused for verdict in found.verdict] == judgement.over_budget.tolist()
    assert [distance for distance in found.distance if distance is not None] == [
        distance for distance in judgement.distance.tolist() if math.isfinite(distance)
    ]


def test_each_verdict_is_reached() -> None:
    x = torch.full((6, 1, 2, 2), 0.45)
    x_adv = x.clone()
    x_adv[0, 0, 0, 0] = 0.55
    x_adv[1, 0, 1, 1] = torch.nan
    x_adv[2, 0, 1, 1] = -0.01
    x_adv[3, 0, 0, 0] = 0.56
    x_adv[4, 0, 0, 0] = 0.49
    x_adv[5, 0, 1, 1] = -torch.inf
    found = recheck(Brightness(), x, torch.zeros(6, dtype=torch.int64), x_adv, [0, 1, 2, 3, 5, 8], EPSILON)
    assert found.verdict == ("holds", "not_finite", "outside_box", "over_budget", "classified_correctly", "not_finite")
    assert found.index == (0, 1, 2, 3, 5, 8)
    assert found.broken == (0,)
    assert found.distance[0] == pytest.approx(0.1, rel=1e-6)
    assert (found.distance[1], found.distance[5]) == (None, None)
    assert found.distance[2] == pytest.approx(0.46, rel=1e-6)


@pytest.mark.parametrize("norm", BUDGETS)
@pytest.mark.parametrize("epsilon", ["1/10", "8/255", "1/2"])
def test_the_last_float32_within_the_limit_holds_and_the_next_does_not(norm: str, epsilon: str) -> None:
    """From 0 the distance is the pixel itself, so nothing is rounded on the way to the comparison."""
    budget = ThreatModel(norm, epsilon)
    limit = torch.tensor(largest_distance(budget.radius), dtype=torch.float64)
    nearest = limit.float()
    below = nearest if float(nearest) <= float(limit) else torch.nextafter(nearest, torch.tensor(0.0))
    above = torch.nextafter(below, torch.tensor(1.0))
    assert float(below) <= float(limit) < float(above)
    x = torch.zeros(2, 1, 2, 2)
    x_adv = x.clone()
    x_adv[0, 0, 1, 1], x_adv[1, 0, 1, 1] = below, above
    found = recheck(Brightness(), x, torch.ones(2, dtype=torch.int64), x_adv, (0, 1), budget)
    assert found.verdict == (Verdict.HOLDS, Verdict.OVER_BUDGET)
    assert found.distance == (float(below), float(above))


@pytest.mark.parametrize(
    "norm", ["Linf", *(pytest.param(norm, marks=pytest.mark.slow) for norm in BUDGETS if norm != "Linf")]
)
def test_gives_an_evaluations_verdicts_again(blob_model: Cnn, blob_points: tuple[Tensor, Tensor], norm: str) -> None:
    x, y = blob_points[0][:60], blob_points[1][:60].clone()
    y[7] = (y[7] + 1) % 4  # misclassified clean
    budget = ThreatModel(norm, BUDGETS[norm])
    evaluation = evaluate(blob_model, x, y, budget, protocol="apgd-ce(steps=10)+square(queries=50)")
    points = evaluation.report.points
    assert 0 < sum(points.robust) < 59
    found = recheck(blob_model, x, y, evaluation.x_adv, points.index, budget)
    assert found.broken == tuple(i for i, robust in zip(points.index, points.robust, strict=True) if not robust)
    assert set(found.verdict) == {Verdict.HOLDS, Verdict.CLASSIFIED_CORRECTLY}
    assert found.distance == tuple(0.0 if distance is None else distance for distance in points.distance)
    assert found.examples_sha256 == evaluation.report.examples_sha256
    provenance = evaluation.report.provenance
    for fact in ("device", "hardware", "versions", "threads", "slot_width"):
        assert getattr(found, fact) == getattr(provenance, fact)


@pytest.mark.parametrize("width", [1, 8, 13, 64, 1_000])
def test_the_width_changes_no_verdict(blob_model: Cnn, blob_points: tuple[Tensor, Tensor], width: int) -> None:
    x, y = blob_points
    x_adv = moved(x, 0.15).clamp(0, 1)
    usual = recheck(blob_model, x, y, x_adv, range(len(x)), EPSILON)
    found = recheck(blob_model, x, y, x_adv, range(len(x)), EPSILON, width=width)
    assert found.slot_width == max(width, 8)
    assert found == usual.model_copy(update={"slot_width": found.slot_width})


def test_a_model_that_writes_into_its_input_changes_no_verdict_and_no_image(
    blob_model: Cnn, blob_points: tuple[Tensor, Tensor]
) -> None:
    x, y = blob_points
    x_adv = moved(x, 0.15).clamp(0, 1)
    images = x.clone(), x_adv.clone()
    found = recheck(Writing(blob_model), x, y, x_adv, range(len(x)), EPSILON, width=len(x))
    assert found == recheck(blob_model, x, y, x_adv, range(len(x)), EPSILON, width=len(x))
    assert (torch.equal(x, images[0]), torch.equal(x_adv, images[1])) == (True, True)


def test_the_model_is_frozen_in_eval_mode_and_left_as_it_was(blob_points: tuple[Tensor, Tensor]) -> None:
    x, y = blob_points
    model = Cnn(SHAPE, 4)
    model.norm.eval()
    model.linear.bias.requires_grad_(False)
    seen: set[tuple[bool, bool, bool, torch.dtype]] = set()

    def look(module: nn.Module, inputs: tuple[Tensor], logits: Tensor) -> None:
        seen.add((module.training, model.linear.weight.requires_grad, torch.is_grad_enabled(), logits.dtype))

    model.register_forward_hook(look)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    generator = torch.get_rng_state()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        recheck(model, x, y, x.clone().requires_grad_(), range(len(x)), EPSILON)
    assert seen == {(False, False, False, torch.float32)}
    assert (model.training, model.norm.training, model.linear.training) == (True, False, True)
    assert (model.linear.weight.requires_grad, model.linear.bias.requires_grad) == (True, False)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), generator)


def test_progress_is_told_after_every_batch_and_may_end_it(blob_model: Cnn, blob_points: tuple[Tensor, Tensor]) -> None:
    x, y = blob_points
    told: list[tuple[int, int]] = []
    recheck(blob_model, x, y, x, range(200), EPSILON, progress=lambda done, total: told.append((done, total)))
    assert told == [(64, 200), (128, 200), (192, 200), (200, 200)]

    def cancel(done: int, total: int) -> None:
        raise InterruptedError(f"{done} of {total}")

    with pytest.raises(InterruptedError, match="64 of 200"):
        recheck(blob_model, x, y, x, range(200), EPSILON, progress=cancel)


def test_what_was_judged_is_on_record(blob_model: Cnn, blob_points: tuple[Tensor, Tensor]) -> None:
    x, y = blob_points[0][:3], blob_points[1][:3]
    budget = ThreatModel("L2", 0.8, "digits")
    found = recheck(blob_model, x, y, x, (4, 5, 9), budget, checkpoint_sha256="c" * 64)
    assert (found.norm, found.epsilon, found.dataset, found.checkpoint_sha256) == ("L2", "4/5", "digits", "c" * 64)
    assert found.examples_sha256 == hashlib.sha256(x.numpy().astype("<f4").tobytes()).hexdigest()
    assert found.versions["torch"] == torch.__version__
    assert (found.device, found.threads, found.sandbox) == ("cpu", torch.get_num_threads(), None)
    assert Verdicts.from_bytes(found.to_bytes()) == found


def test_answers_that_are_not_finite_are_wrong() -> None:
    model = Linear((1, 2, 2), 3)
    with torch.no_grad():
        model.bias[0] = torch.nan
    x, _ = points(3, (1, 2, 2), 3)
    found = recheck(model, x, torch.ones(3, dtype=torch.int64), x, range(3), EPSILON)
    assert set(found.verdict) == {Verdict.HOLDS}


X, _ = points(4, (1, 2, 2), 3)
MODEL = Linear((1, 2, 2), 3)
ARGUMENTS: dict[str, Any] = {
    "model": MODEL,
    "x": X,
    "y": answers(MODEL, X),
    "x_adv": X,
    "index": (0, 1, 2, 3),
    "threat_model": EPSILON,
}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"x": X * 2}, "x"),
        ({"x": X.double()}, "x"),
        ({"y": torch.zeros(4)}, "y"),
        ({"y": torch.full((4,), 3)}, "y"),
        ({"x_adv": X[:3]}, "x_adv"),
        ({"x_adv": X.double()}, "x_adv"),
        ({"x_adv": X.flatten(1)}, "x_adv"),
        ({"x_adv": X.numpy()}, "x_adv"),
        ({"index": (0, 1, 2)}, "index"),
        ({"index": (0, 2, 1, 3)}, "index"),
        ({"index": (0, 1, 1, 2)}, "index"),
        ({"index": (-1, 0, 1, 2)}, "index"),
        ({"width": 0}, "width"),
        ({"device": "tpu"}, "device"),
        ({"model": Linear((1, 2, 2), 1), "y": torch.zeros(4, dtype=torch.int64)}, "model"),
    ],
)
def test_what_cannot_be_judged_is_refused(changes: dict[str, Any], field: str) -> None:
    assert recheck(**ARGUMENTS).counts[Verdict.CLASSIFIED_CORRECTLY] == 4
    with pytest.raises(InvalidInput) as caught:
        recheck(**(ARGUMENTS | changes))
    assert caught.value.detail is not None
    assert caught.value.detail.field == field


def test_a_model_that_fails_ends_the_recheck() -> None:
    with pytest.raises(EvaluationFailed) as caught:
        recheck(**(ARGUMENTS | {"model": nn.Linear(2, 2)}))
    assert isinstance(caught.value, GauntletError)
    with pytest.raises(EvaluationFailed, match="forward pass"):
        recheck(**(ARGUMENTS | {"model": Linear((3, 2, 2), 3)}))
