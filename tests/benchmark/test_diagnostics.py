"""How the diagnostics run: what they need, what they cost, and what they leave behind."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from benchmark.diagnostics import DIAGNOSTICS, DiagnosticsProgress, run_diagnostics
from benchmark.diagnostics.sample import Sample
from benchmark.errors import InvalidInput
from benchmark.report import CheckOutcome, Evidence
from benchmark.threat_models import ThreatModel
from tests.benchmark.diagnosed import CPU, LITTLE, MUCH, SHAPE, digital_blobs, evidence_of, single
from tests.benchmark.models import Cnn, Robust, Shape, answers, points

PASSED, _, _, NOT_ASSESSED = CheckOutcome


@pytest.mark.parametrize(
    ("norm_and_epsilon", "shape", "classes"),
    [
        (("Linf", "8/255"), (3, 5, 7), 2),
        (("L2", "1/2"), (1, 4, 9), 3),
        (("L1", "5"), (3, 6, 4), 5),
        pytest.param(("Linf", "2"), (2, 3, 3), 4, marks=pytest.mark.slow),
    ],
)
def test_every_norm_shape_and_number_of_classes_is_assessed(
    norm_and_epsilon: tuple[str, str], shape: Shape, classes: int
) -> None:
    x, _ = points(12, shape, classes)
    model = Cnn(shape, classes).eval()
    found = evidence_of(model, x, answers(model, x), ThreatModel(*norm_and_epsilon))
    assert {code for code, evidence in found.items() if evidence.outcome is NOT_ASSESSED} <= {
        "larger_budget_does_not_help"
    }
    assert {evidence.numbers["points"] for evidence in found.values()} == {12}


class Drawing(Cnn):
    """Draws from torch's own generator at every pass."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 1e-3 * torch.rand(len(x), 1)


def test_equal_arguments_give_equal_bytes_and_leave_everything_as_it_was(blob_model: Cnn) -> None:
    model = copy.deepcopy(blob_model).train()
    model.linear.weight.requires_grad_(False)
    x, y = digital_blobs(10)
    before = x.clone(), y.clone(), {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(5)
    state = torch.random.get_rng_state()

    first, again = evidence_of(model, x, y, LITTLE, seed=3), evidence_of(model, x, y, LITTLE, seed=3)

    assert [one.model_dump_json() for one in first.values()] == [one.model_dump_json() for one in again.values()]
    assert first["larger_budget_does_not_help"].numbers["robust_accuracy"] > 0
    assert single("gradient_alignment", model, x, y, LITTLE, seed=3) == first["gradient_alignment"]
    assert single("gradient_alignment", model, x, y, LITTLE, seed=4) != first["gradient_alignment"]
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(x, before[0])
    assert torch.equal(y, before[1])
    assert all(torch.equal(before[2][name], value) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert [name for name, value in model.named_parameters() if not value.requires_grad] == ["linear.weight"]
    assert all(value.grad is None for value in model.parameters())


def test_a_model_that_draws_moves_nobody_elses_generator() -> None:
    x, _ = points(8, SHAPE, 4)
    model = Drawing(SHAPE, 4).eval()
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    evidence_of(model, x, answers(model, x), LITTLE)
    torch.manual_seed(5)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_surroundings_do_not_reach_the_model(blob_model: Cnn) -> None:
    x, y = digital_blobs(16)
    expected = evidence_of(blob_model, x, y, MUCH)
    with torch.inference_mode():
        x, y = x.clone(), y.clone()
        assert evidence_of(blob_model, x, y, MUCH) == expected


@pytest.mark.parametrize("right", [0, 7, 8])
def test_too_few_points_are_not_assessed(right: int, blob_model: Cnn) -> None:
    x, _ = digital_blobs(40)
    y = answers(blob_model, x)
    y[right:] = (y[right:] + 1) % 4
    found = evidence_of(blob_model, x, y, MUCH)
    if right == 8:
        assert {evidence.outcome for evidence in found.values()} == {PASSED}
        assert {evidence.numbers["points"] for evidence in found.values()} == {8}
    else:
        assert {evidence.outcome for evidence in found.values()} == {NOT_ASSESSED}
        assert all(f"too few points, {right} classified" in evidence.message for evidence in found.values())


class Failing(Cnn):
    """Fails where gradients are wanted, or always."""

    def __init__(self, *, always: bool) -> None:
        super().__init__(SHAPE, 4)
        self.always = always

    def forward(self, x: Tensor) -> Tensor:
        if self.always or x.requires_grad:
            raise RuntimeError("out of order")
        return super().forward(x)


@pytest.mark.parametrize("always", [True, False])
def test_a_model_that_fails_is_not_assessed(always: bool) -> None:
    x, _ = digital_blobs(10)
    found = evidence_of(Failing(always=always), x, answers(Cnn(SHAPE, 4).eval(), x), LITTLE)
    assert {evidence.outcome for evidence in found.values()} == {NOT_ASSESSED}
    assert all("EvaluationFailed" in evidence.message for evidence in found.values())
    assert all("out of order" in evidence.message for evidence in found.values())


def test_a_test_that_fails_leaves_the_others_alone(blob_model: Cnn, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(sample: Sample) -> Evidence:
        raise ValueError(f"no idea what to make of {len(sample)} points")

    monkeypatch.setattr("benchmark.diagnostics.DIAGNOSTICS", {**DIAGNOSTICS, "noise_helps": failing})
    found = evidence_of(blob_model, *digital_blobs(16), MUCH)
    failed = found.pop("noise_helps")
    assert failed.outcome is NOT_ASSESSED
    assert failed.message == "Not assessed: the test failed with ValueError: no idea what to make of 16 points."
    assert {evidence.outcome for evidence in found.values()} == {PASSED}


def test_one_logit_is_not_assessed() -> None:
    x, _ = points(10, SHAPE, 1)
    found = evidence_of(Cnn(SHAPE, 1).eval(), x, torch.zeros(10, dtype=torch.int64), LITTLE)
    assert {evidence.outcome for evidence in found.values()} == {NOT_ASSESSED}


def test_unusable_points_are_refused(blob_model: Cnn) -> None:
    x, y = digital_blobs(10)
    with pytest.raises(InvalidInput, match="values in"):
        evidence_of(blob_model, 255 * x, y, LITTLE)


def test_progress_is_told_before_each_test_and_after_the_last(blob_model: Cnn) -> None:
    x, y = digital_blobs(10)
    told: list[DiagnosticsProgress] = []
    run_diagnostics(blob_model, x, y, range(10), MUCH, seed=0, width=16, device=CPU, progress=told.append)
    codes = list(DIAGNOSTICS)
    assert [one.test for one in told] == [*codes, codes[-1]]
    assert [one.tests_done for one in told] == list(range(9))
    assert {one.tests for one in told} == {8}


def test_progress_can_end_the_run(blob_model: Cnn) -> None:
    def stop(progress: DiagnosticsProgress) -> None:
        if progress.tests_done == 1:
            raise TimeoutError("no time left")

    x, y = digital_blobs(10)
    with pytest.raises(TimeoutError, match="no time left"):
        run_diagnostics(blob_model, x, y, range(10), MUCH, seed=0, width=16, device=CPU, progress=stop)


class Tally:
    """Rows that went forward and backward through a model and all its copies."""

    def __init__(self) -> None:
        self.forward = 0
        self.backward = 0

    def __deepcopy__(self, _memo: object) -> Tally:
        return self


class Counted(nn.Module):
    def __init__(self, inner: nn.Module, tally: Tally) -> None:
        super().__init__()
        self.inner = inner
        self.tally = tally

    def forward(self, x: Tensor) -> Tensor:
        self.tally.forward += len(x)
        logits = torch.as_tensor(self.inner(x))
        if logits.requires_grad:
            logits.register_hook(self._count)
        return logits

    def _count(self, grad: Tensor) -> None:
        self.tally.backward += len(grad)


@pytest.mark.parametrize("norm_and_epsilon", [("Linf", "1/10"), pytest.param(("L1", "5"), marks=pytest.mark.slow)])
def test_passes_stay_within_the_budget(norm_and_epsilon: tuple[str, str]) -> None:
    """On points that nothing breaks: for others the attacks end earlier."""
    x, y = points(64, SHAPE, 1)
    tally = Tally()
    found = evidence_of(Counted(Robust(SHAPE, 4), tally), x, y, ThreatModel(*norm_and_epsilon))
    assert found["larger_budget_does_not_help"].numbers["robust_accuracy_whole_box"] == 1
    assert 2_000 < (tally.forward + 2 * tally.backward) / 64 < 3_000


class Boasting(nn.Module):
    """Answers wrongly while gradients are recorded, so that attacks believe that they have won."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Robust(SHAPE, 4)

    def forward(self, x: Tensor) -> Tensor:
        logits = torch.as_tensor(self.inner(x))
        return logits.roll(1, 1) if x.requires_grad else logits


def test_what_an_attack_claims_does_not_count() -> None:
    x, y = points(16, SHAPE, 1)
    for code in ("one_step_beats_iterative", "rescaled_logits_help"):
        numbers = single(code, Boasting(), x, y, LITTLE).numbers
        assert {number for name, number in numbers.items() if name.startswith("broken")} == {0}


class Single(Cnn):
    """Computes in float32 whatever it is converted to."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            weights = {name: value.float() for name, value in self.state_dict().items()}
        plain = Cnn(SHAPE, 4).eval().requires_grad_(False)
        plain.load_state_dict(weights)
        return torch.as_tensor(plain(x.float()))


class Unique(Cnn):
    """Refuses to be copied."""

    def __deepcopy__(self, _memo: object) -> Unique:
        raise TypeError("there is but one")


@pytest.mark.parametrize(("kind", "why"), [(Single, "answers in torch.float32"), (Unique, "there is but one")])
def test_models_without_a_copy_in_float64_are_assessed_in_float32(kind: type[Cnn], why: str, blob_model: Cnn) -> None:
    x, y = digital_blobs(16)
    model = kind(SHAPE, 4).eval()
    model.load_state_dict(blob_model.state_dict())
    found = single("rescaled_logits_help", model, x, y, MUCH)
    assert found.outcome is PASSED
    assert "not assessed in float64" in found.message
    assert why in found.message
    assert "broken_rescaled_float64" not in found.numbers
    assert found.numbers["broken_rescaled"] > 0
    assert "tried in float32 and float64" in single("rescaled_logits_help", blob_model, x, y, MUCH).message
