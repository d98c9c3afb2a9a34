"""Which models the diagnostics flag, and which they do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmark import datasets
from benchmark.diagnostics import DIAGNOSTICS
from benchmark.report import CheckOutcome
from benchmark.threat_models import ThreatModel, official_board
from model_zoo import build, load_model
from model_zoo.recipes.perturbations import SCHEMES, perturb
from model_zoo.registry import cards
from tests.benchmark import masked
from tests.benchmark.diagnosed import LITTLE, MUCH, SHAPE, digital_blobs, evidence_of, flagged, single
from tests.benchmark.masked import Masked
from tests.benchmark.models import Cnn, Linear, Robust, answers, points
from tests.model_zoo import vision_transformer

PASSED, FLAGGED, _, NOT_ASSESSED = CheckOutcome
LINF, L2 = official_board("digits", "Linf").budget, official_board("digits", "L2").budget


@dataclass(frozen=True)
class Case:
    """A model that masks its gradients, and what must and what may be told of it."""

    change: Callable[[nn.Module], nn.Module]
    threat_model: ThreatModel
    must: set[str]
    may: frozenset[str] = frozenset()


CASES: dict[str, Case] = {
    "rounding": Case(
        lambda inner: Masked(inner, images=masked.rounded),
        LITTLE,
        {
            "black_box_beats_white_box",
            "unbounded_attack_fails",
            "larger_budget_does_not_help",
            "gradient_alignment",
        },
    ),
    "rounding, much allowed": Case(
        lambda inner: Masked(inner, images=masked.rounded),
        MUCH,
        {"noise_helps", "black_box_beats_white_box", "unbounded_attack_fails", "gradient_alignment"},
    ),
    "gradients only at the data": Case(
        lambda inner: Masked(inner, images=masked.only_at_data),
        LITTLE,
        {"one_step_beats_iterative", "unbounded_attack_fails", "larger_budget_does_not_help", "gradient_alignment"},
        frozenset({"black_box_beats_white_box"}),
    ),
    "steep sigmoid": Case(
        lambda inner: Masked(inner, images=masked.steep),
        ThreatModel("L2", 1),
        {"black_box_beats_white_box", "gradient_alignment"},
        frozenset({"rescaled_logits_help", "one_step_beats_iterative"}),
    ),
    "ripples": Case(
        lambda inner: Masked(inner, images=masked.rippled),
        LITTLE,
        {"black_box_beats_white_box"},
        frozenset({"gradient_alignment"}),
    ),
    "overfitted to one step": Case(lambda _: masked.overfitted(), MUCH, {"catastrophic_overfitting"}),
    "enormous logits": Case(
        lambda inner: Masked(inner, logits=masked.enormous), MUCH, {"rescaled_logits_help", "gradient_alignment"}
    ),
    "saturated probabilities": Case(
        lambda inner: Masked(inner, logits=masked.saturated_probabilities),
        ThreatModel("L2", 1),
        {"rescaled_logits_help"},
        frozenset({"black_box_beats_white_box", "unbounded_attack_fails"}),
    ),
}

EXEMPLARS = {
    "one_step_beats_iterative": "gradients only at the data",
    "black_box_beats_white_box": "rounding, much allowed",
    "unbounded_attack_fails": "rounding",
    "larger_budget_does_not_help": "rounding",
    "noise_helps": "rounding, much allowed",
    "gradient_alignment": "steep sigmoid",
    "catastrophic_overfitting": "overfitted to one step",
    "rescaled_logits_help": "enormous logits",
}


@pytest.mark.parametrize("code", DIAGNOSTICS)
def test_every_test_flags_a_model_that_has_its_symptom_and_passes_an_honest_one(code: str, blob_model: Cnn) -> None:
    case = CASES[EXEMPLARS[code]]
    assert code in case.must
    found = single(code, case.change(blob_model).eval(), *digital_blobs(32), case.threat_model)
    assert found.outcome is FLAGGED
    assert found.remedy
    assert found.value is not None
    assert found.threshold is not None
    assert (found.value < found.threshold) == (code == "gradient_alignment")
    assert single(code, blob_model, *digital_blobs(32), case.threat_model).outcome is PASSED


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CASES if "rounding" not in name])
def test_masked_gradients_are_flagged_by_the_tests_for_their_symptoms_and_no_others(name: str, blob_model: Cnn) -> None:
    case = CASES[name]
    found = flagged(evidence_of(case.change(blob_model).eval(), *digital_blobs(40), case.threat_model))
    assert case.must <= found <= case.must | case.may


@pytest.mark.slow
def test_reversed_gradients_of_two_classes_are_flagged(blob_model: Cnn) -> None:
    x, y = digital_blobs(40)
    honest = Masked(blob_model, logits=masked.halves)
    assert flagged(evidence_of(honest, x, y // 2, MUCH)) == set()
    misleading = Masked(blob_model, images=masked.reversed_gradient, logits=masked.halves)
    found = flagged(evidence_of(misleading, x, y // 2, MUCH))
    assert {"black_box_beats_white_box", "unbounded_attack_fails"} <= found


@pytest.mark.parametrize(
    "norm_and_epsilon",
    [
        ("Linf", "1/10"),
        pytest.param(("L2", "3/4"), marks=pytest.mark.slow),
        pytest.param(("L1", "3"), marks=pytest.mark.slow),
    ],
)
def test_an_honest_model_is_flagged_in_no_norm(norm_and_epsilon: tuple[str, str], blob_model: Cnn) -> None:
    found = evidence_of(blob_model, *digital_blobs(40), ThreatModel(*norm_and_epsilon))
    assert {evidence.outcome for evidence in found.values()} == {PASSED}
    assert 0 < found["larger_budget_does_not_help"].numbers["robust_accuracy"] < 1


@pytest.mark.slow
def test_ordinary_probabilities_are_not_flagged(blob_model: Cnn) -> None:
    x, y = digital_blobs(40)
    assert flagged(evidence_of(nn.Sequential(blob_model, nn.Softmax(1)), x, y, LITTLE)) == set()


BUNDLED = [
    (card.id, board)
    for card in cards()
    if card.dataset == "digits"
    for board in card.threat_models
    if official_board("digits", board).attacked
]


@pytest.mark.slow
@pytest.mark.parametrize(("model_id", "board"), BUNDLED)
def test_bundled_models_are_not_flagged(model_id: str, board: str) -> None:
    data = datasets.load("digits", "test", 100)
    model = load_model(model_id, dataset="digits", threat_model=board)
    found = evidence_of(model, data.x, data.y, official_board("digits", board).budget)
    assert {evidence.outcome for evidence in found.values()} == {PASSED}


@pytest.mark.slow
def test_square_tells_of_a_network_trained_in_another_norm() -> None:
    """Attacks that follow the loss stall on it."""
    data = datasets.load("digits", "test", 100)
    model = load_model("Digits_PGD2", dataset="digits", threat_model="Linf")
    assert flagged(evidence_of(model, data.x, data.y, L2)) == {"black_box_beats_white_box"}


class Perceptron(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))


def _fitted(make: Callable[[], nn.Module], scheme: str, budget: ThreatModel) -> nn.Module:
    data, generator = datasets.load("digits", "train"), torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = make()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(10):
        for rows in torch.randperm(len(data.y), generator=generator).split(64):
            x = perturb(model.eval(), data.x[rows], data.y[rows], budget, SCHEMES[scheme], generator)
            optimizer.zero_grad()
            torch.autograd.backward(functional.cross_entropy(model.train()(x), data.y[rows]))
            optimizer.step()
    return model.eval()


FRESH: dict[str, tuple[Callable[[], nn.Module], ThreatModel]] = {
    "undefended convolutions, little allowed": (
        lambda: _fitted(lambda: build("digits_cnn", "digits"), "standard", LINF),
        ThreatModel("Linf", "8/255"),
    ),
    "defended perceptron": (lambda: _fitted(Perceptron, "pgd-10", LINF), LINF),
    "defended linear": (lambda: _fitted(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), "pgd-2", L2), L2),
    "vision transformer": (lambda: vision_transformer.trained(datasets.load("digits", "train"), 15), LINF),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FRESH)
def test_freshly_trained_models_are_not_flagged(name: str) -> None:
    make, budget = FRESH[name]
    data = datasets.load("digits", "test", 100)
    found = evidence_of(make(), data.x, data.y, budget)
    assert {evidence.outcome for evidence in found.values()} == {PASSED}


def test_saturated_probabilities_are_attacked_best_in_float64(blob_model: Cnn) -> None:
    model = Masked(blob_model, logits=masked.saturated_probabilities).eval()
    numbers = single("rescaled_logits_help", model, *digital_blobs(32), ThreatModel("L2", 1)).numbers
    assert numbers["broken_rescaled_float64"] > numbers["broken_rescaled"] > numbers["broken_as_they_are"]


def test_a_budget_too_small_to_tell_is_not_assessed(blob_model: Cnn) -> None:
    found = single("larger_budget_does_not_help", blob_model, *digital_blobs(16), ThreatModel("Linf", "1/1000"))
    assert found.outcome is NOT_ASSESSED
    assert "too small" in found.message
    assert (found.numbers["robust_accuracy_4_epsilon"], found.numbers["robust_accuracy_whole_box"]) == (1, 0)


def test_a_constant_answer_is_flagged_where_everything_is_allowed() -> None:
    """Nothing can break it: it is as robust as it is useless."""
    x, y = points(16, SHAPE, 1)
    for code in ("unbounded_attack_fails", "larger_budget_does_not_help"):
        found = single(code, Robust(SHAPE, 4), x, y, LITTLE)
        assert (found.outcome, found.value) == (FLAGGED, 1)


class Band(nn.Module):
    """Class 1 wins in a narrow band of brightness; where the image is darker the gradient leads there, in leaps."""

    def forward(self, x: Tensor) -> Tensor:
        brightness = x.mean((1, 2, 3))
        inside = functional.relu(0.05 - (brightness - 0.6).abs())
        return torch.stack((0.01 - 0 * brightness, inside + 1e-3 * brightness), 1)


def test_accuracy_that_rises_with_the_budget_is_flagged() -> None:
    """Steps as long as the budget leap over the band once this is large."""
    x = torch.full((8, *SHAPE), 0.5)
    found = single("larger_budget_does_not_help", Band(), x, torch.zeros(8, dtype=torch.int64), LITTLE)
    assert (found.outcome, found.value) == (FLAGGED, 1)
    assert (found.numbers["robust_accuracy"], found.numbers["robust_accuracy_2_epsilon"]) == (0, 1)


def test_a_linear_model_has_aligned_gradients_and_a_flat_one_has_none() -> None:
    x, _ = points(16, SHAPE, 2)
    linear = Linear(SHAPE, 2).eval()
    found = single("gradient_alignment", linear, x, answers(linear, x), LITTLE)
    assert found.value == pytest.approx(1, abs=1e-5)
    assert found.numbers["zero_gradients"] == 0
    flat = Masked(linear, images=masked.rounded)
    found = single("gradient_alignment", flat, x, answers(flat, x), LITTLE)
    assert (found.outcome, found.value, found.numbers["zero_gradients"]) == (FLAGGED, 0, 1)
