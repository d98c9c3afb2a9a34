from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.variable import Variable
from torch.nn import functional

from benchmark import check_restrictions
from benchmark.errors import InvalidInput
from benchmark.report import CheckOutcome
from benchmark.restrictions import run_checks
from benchmark.threat_models import ThreatModel
from tests.benchmark.models import Cnn, Linear, Shape, blobs, points

SHAPE: Shape = (1, 8, 8)
LINF = ThreatModel("Linf", "8/255")
PASSED, FLAGGED, REJECTED, NOT_ASSESSED = CheckOutcome


class Noise(Cnn):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + 0.05 * torch.randn_like(x))


class NoiseForGradients(Cnn):
    """Steady where nobody asks for gradients."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + 0.05 * torch.randn_like(x) if x.requires_grad else x)


class Dropout(Cnn):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(functional.dropout(x, 0.3, training=True))


class Rounded(Cnn):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward((x * 8).round() / 8)


class Hard(Cnn):
    def forward(self, x: Tensor) -> Tensor:
        return functional.one_hot(super().forward(x).argmax(1), 4).float()


class Zero(Cnn):
    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__(shape, classes)
        for parameter in self.parameters():
            nn.init.zeros_(parameter)


class Detached(Cnn):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.detach())


class NoGraph(Cnn):
    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return super().forward(x)


class Descends(Cnn):
    """Cleans the image by a gradient step of its own before it classifies."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            leaf = x.detach().clone().requires_grad_()
            (grad,) = torch.autograd.grad(super().forward(leaf).logsumexp(1).sum(), leaf)
        return super().forward(x + 0.01 * grad.sign())


class DescendsUnseen(Descends):
    """Cleans the image only while nobody asks for gradients."""

    def forward(self, x: Tensor) -> Tensor:
        return Cnn.forward(self, x) if x.requires_grad else super().forward(x)


class Backward(Cnn):
    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            leaf = x.detach().clone().requires_grad_()
            super().forward(leaf).logsumexp(1).sum().backward()
        assert leaf.grad is not None
        return super().forward(x + 0.01 * leaf.grad)


class FunctionalGradient(Cnn):
    def forward(self, x: Tensor) -> Tensor:
        grad = torch.func.grad(lambda image: Cnn.forward(self, image).logsumexp(1).sum())(x.detach())
        return super().forward(x + 0.01 * grad)


class Softmax(Cnn):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).softmax(1)


class NotANumber(Cnn):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * torch.where(x[:, 0, 0, :1] > 0.3, torch.nan, 1.0)


class Infinite(Cnn):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / 0


class HalfABatch(Cnn):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[::2]


class Pair(Cnn):
    def forward(self, x: Tensor) -> Tensor:
        logits = super().forward(x)
        return (logits, logits)  # type: ignore[return-value]


class Integers(Cnn):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).long()


class Raising(Cnn):
    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError("wants 32 × 32 pixels")


class RaisingForGradients(Cnn):
    def forward(self, x: Tensor) -> Tensor:
        if x.requires_grad:
            raise RuntimeError("no gradients today")
        return super().forward(x)


class InPlace(Cnn):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.sub_(0.1))


def _dead_units() -> Cnn:
    model = Cnn(SHAPE, 4)
    with torch.no_grad():
        model.norm.bias[:3] = -100
    return model


CHEATS: dict[str, tuple[nn.Module, str, CheckOutcome, set[str]]] = {
    "noise": (Noise(SHAPE, 4), "randomized", REJECTED, set()),
    "noise for gradients": (NoiseForGradients(SHAPE, 4), "randomized", REJECTED, set()),
    "dropout": (Dropout(SHAPE, 4), "randomized", REJECTED, set()),
    "rounding": (Rounded(SHAPE, 4), "zero_gradient", REJECTED, set()),
    "one-hot": (Hard(SHAPE, 4), "zero_gradient", REJECTED, {"softmax_output"}),
    "zero weights": (Zero(SHAPE, 4), "zero_gradient", REJECTED, set()),
    "detached": (Detached(SHAPE, 4), "zero_gradient", REJECTED, set()),
    "no graph": (NoGraph(SHAPE, 4), "zero_gradient", REJECTED, set()),
    "torch.autograd.grad": (Descends(SHAPE, 4), "optimization_at_inference", REJECTED, set()),
    "grad while unseen": (DescendsUnseen(SHAPE, 4), "optimization_at_inference", REJECTED, {"randomized"}),
    "backward": (Backward(SHAPE, 4), "optimization_at_inference", REJECTED, set()),
    "torch.func.grad": (FunctionalGradient(SHAPE, 4), "optimization_at_inference", REJECTED, set()),
    "softmax": (Softmax(SHAPE, 4), "softmax_output", FLAGGED, set()),
    "nan": (NotANumber(SHAPE, 4), "non_finite_output", REJECTED, set()),
    "inf": (Infinite(SHAPE, 4), "non_finite_output", REJECTED, set()),
    "too narrow": (Cnn(SHAPE, 3), "output_shape", REJECTED, set()),
    "one logit": (Cnn(SHAPE, 1), "output_shape", REJECTED, set()),
    "half a batch": (HalfABatch(SHAPE, 4), "output_shape", REJECTED, set()),
    "tuple": (Pair(SHAPE, 4), "output_shape", REJECTED, set()),
    "integers": (Integers(SHAPE, 4), "output_shape", REJECTED, set()),
    "raises": (Raising(SHAPE, 4), "output_shape", REJECTED, set()),
    "raises for gradients": (
        RaisingForGradients(SHAPE, 4),
        "zero_gradient",
        REJECTED,
        {"randomized", "optimization_at_inference"},
    ),
}

HONEST: dict[str, nn.Module] = {
    "cnn": Cnn(SHAPE, 4),
    "dead units": _dead_units(),
    "linear": Linear(SHAPE, 4),
    "more classes than labels": Cnn(SHAPE, 10),
    "attention": nn.Sequential(
        nn.Flatten(2), nn.TransformerEncoderLayer(64, 4, 32, batch_first=True), nn.Flatten(), nn.Linear(64, 4)
    ),
    "writes into its input": InPlace(SHAPE, 4),
}


@pytest.mark.parametrize("name", CHEATS)
def test_cheat_raises_its_finding(name: str) -> None:
    model, code, outcome, others = CHEATS[name]
    x, y = blobs(80, seed=3)
    findings = [check for check in run_checks(model, x, y, LINF) if check.outcome in (FLAGGED, REJECTED)]
    assert (code, outcome) in {(check.code, check.outcome) for check in findings}
    assert {check.code for check in findings} <= {code} | others
    for check in findings:
        assert check.remedy
        assert check.message
        assert "ValidationError" not in check.message


@pytest.mark.parametrize("name", HONEST)
def test_honest_model_has_no_findings(name: str) -> None:
    x, y = blobs(80, seed=3)
    assert check_restrictions(HONEST[name], x, y, LINF) == []
    checks = run_checks(HONEST[name], x, y, LINF)
    assert [check.outcome for check in checks] == [PASSED] * 6
    assert len({check.code for check in checks}) == 6


def test_trained_model_has_no_findings(blob_model: nn.Module, blob_points: tuple[Tensor, Tensor]) -> None:
    assert check_restrictions(blob_model, *blob_points, LINF) == []


@pytest.mark.parametrize(("dead", "outcome"), [(6, PASSED), (16, FLAGGED), (40, REJECTED)])
def test_share_of_points_without_gradient_decides(dead: int, outcome: CheckOutcome) -> None:
    """An honest certified network showed 6 such points of 62."""
    x, y = blobs(62, seed=3)
    x[:, 0, 0, 0] = 1
    x[:dead, 0, 0, 0] = 0

    class PartlyDead(Cnn):
        def forward(self, x: Tensor) -> Tensor:
            alive = x.detach()[:, 0, :1, :1].mean(2) > 0.5
            return torch.where(alive, super().forward(x), super().forward(x.detach()))

    (check,) = [check for check in run_checks(PartlyDead(SHAPE, 4), x, y, LINF) if check.code == "zero_gradient"]
    assert check.outcome is outcome
    assert check.value == pytest.approx(dead / 62)


def test_unusable_output_leaves_the_rest_not_assessed() -> None:
    x, y = blobs(8, seed=3)
    shape, *rest = run_checks(Raising(SHAPE, 4), x, y, LINF)
    assert shape.outcome is REJECTED
    assert "wants 32 × 32 pixels" in shape.message
    assert {check.outcome for check in rest} == {NOT_ASSESSED}
    _, finite, *rest = run_checks(NotANumber(SHAPE, 4), x, y, LINF)
    assert finite.outcome is REJECTED
    assert {check.outcome for check in rest} == {NOT_ASSESSED}


def test_known_number_of_classes_is_required() -> None:
    x, y = blobs(8, seed=3)
    assert run_checks(Cnn(SHAPE, 10), x, y, LINF, classes=4)[0].outcome is REJECTED
    assert run_checks(Cnn(SHAPE, 4), x, y, LINF, classes=4)[0].outcome is PASSED


@pytest.mark.parametrize("name", [*CHEATS, *HONEST])
def test_checks_leave_everything_as_it_was(name: str) -> None:
    model = CHEATS[name][0] if name in CHEATS else HONEST[name]
    model.train()
    first = next(model.parameters())
    first.requires_grad_(False)
    x, y = points(20, SHAPE, 4)
    torch.manual_seed(11)
    before_x, engine, state = x.clone(), Variable._execution_engine, torch.random.get_rng_state()
    weights = [value.clone() for value in model.state_dict().values()]
    run_checks(model, x, y, LINF)
    assert Variable._execution_engine is engine
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(x, before_x)
    assert all(module.training for module in model.modules())
    assert [parameter.requires_grad for parameter in model.parameters()] == [
        parameter is not first for parameter in model.parameters()
    ]
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(old, new) for old, new in zip(weights, model.state_dict().values(), strict=True))
    first.requires_grad_(True)
    model.eval()


def test_only_the_first_64_points_are_looked_at() -> None:
    seen: list[int] = []

    class Listening(Cnn):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(len(x))
            return super().forward(x)

    run_checks(Listening(SHAPE, 4), *blobs(200, seed=3), LINF)
    assert set(seen) == {64}


def test_bad_points_are_refused_before_the_model_runs() -> None:
    x, y = blobs(8, seed=3)
    with pytest.raises(InvalidInput, match="values in"):
        run_checks(Raising(SHAPE, 4), x * 255, y, LINF)
