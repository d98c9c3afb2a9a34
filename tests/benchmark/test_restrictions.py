"""The rules one by one, on small networks; the toy cheats and the honest networks have files of their own."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.variable import Variable

from benchmark import check_restrictions
from benchmark.errors import InvalidInput
from benchmark.report import Check, CheckOutcome
from benchmark.restrictions import run_checks
from benchmark.restrictions.policy import POLICIES, POLICY, policy_of_version
from benchmark.restrictions.test_set_lookup import _improbable
from benchmark.rules import RULES, VERSION
from benchmark.threat_models import ThreatModel
from tests.benchmark.models import Cnn, Linear, Shape, blobs, points

SHAPE: Shape = (1, 8, 8)
LINF = ThreatModel("Linf", "8/255")
PASSED, FLAGGED, REJECTED, NOT_ASSESSED = CheckOutcome


class Detached(Cnn):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.detach())


class Zero(Cnn):
    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__(shape, classes)
        for parameter in self.parameters():
            nn.init.zeros_(parameter)


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


class OneImage(Cnn):
    """Fails where there is but one image."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.squeeze(0) if len(x) == 1 else x).squeeze()


class InPlace(Cnn):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.sub_(0.1))


def _dead_units() -> Cnn:
    model = Cnn(SHAPE, 4)
    with torch.no_grad():
        model.norm.bias[:3] = -100
    return model


ODD: dict[str, tuple[nn.Module, str]] = {
    "zero weights": (Zero(SHAPE, 4), "zero_gradient"),
    "detached": (Detached(SHAPE, 4), "zero_gradient"),
    "torch.autograd.grad": (Descends(SHAPE, 4), "optimization_at_inference"),
    "grad while unseen": (DescendsUnseen(SHAPE, 4), "optimization_at_inference"),
    "backward": (Backward(SHAPE, 4), "optimization_at_inference"),
    "torch.func.grad": (FunctionalGradient(SHAPE, 4), "optimization_at_inference"),
    "nan": (NotANumber(SHAPE, 4), "non_finite_output"),
    "inf": (Infinite(SHAPE, 4), "non_finite_output"),
    "too narrow": (Cnn(SHAPE, 3), "output_shape"),
    "one logit": (Cnn(SHAPE, 1), "output_shape"),
    "half a batch": (HalfABatch(SHAPE, 4), "output_shape"),
    "tuple": (Pair(SHAPE, 4), "output_shape"),
    "integers": (Integers(SHAPE, 4), "output_shape"),
    "raises": (Raising(SHAPE, 4), "output_shape"),
    "raises for gradients": (RaisingForGradients(SHAPE, 4), "zero_gradient"),
    "one image at a time": (OneImage(SHAPE, 4), "batch_dependent"),
}
"""Models that must be rejected, each with the finding that says why."""

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


def found(model: nn.Module, x: Tensor, y: Tensor, code: str) -> Check:
    """The check of that code."""
    (check,) = [check for check in run_checks(model, x, y, LINF) if check.code == code]
    return check


@pytest.mark.parametrize("name", ODD)
def test_it_is_rejected_with_the_finding_that_says_why(name: str) -> None:
    model, code = ODD[name]
    findings = check_restrictions(model, *blobs(80, seed=3), LINF)
    assert (code, REJECTED) in {(check.code, check.outcome) for check in findings}
    for check in findings:
        assert check.remedy
        assert check.message
        assert "ValidationError" not in check.message


@pytest.mark.parametrize("name", HONEST)
def test_honest_model_has_no_findings(name: str) -> None:
    x, y = blobs(80, seed=3)
    assert check_restrictions(HONEST[name], x, y, LINF) == []
    checks = run_checks(HONEST[name], x, y, LINF)
    codes = [rule.code for rule in POLICY.restrictions if rule.on_model is not None]
    assert [check.code for check in checks] == codes
    # Of such small images there is nothing to compare the test points with.
    assert [check.code for check in checks if check.outcome is not PASSED] == ["test_set_lookup"]


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

    check = found(PartlyDead(SHAPE, 4), x, y, "zero_gradient")
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


@pytest.mark.parametrize("name", [*ODD, *HONEST])
def test_checks_leave_everything_as_it_was(name: str) -> None:
    model = ODD[name][0] if name in ODD else HONEST[name]
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


def test_most_checks_look_at_64_points_and_the_lookup_at_all() -> None:
    seen: list[int] = []

    class Listening(Cnn):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(len(x))
            return super().forward(x)

    x, y = blobs(229, seed=3)
    run_checks(Listening(SHAPE, 4), x, y, LINF, twin=(x[:111], y[:111]))
    assert max(seen) == 64
    assert seen.count(229 - 3 * 64) == 1
    assert seen.count(111 - 64) == 1


class Memory(Cnn):
    """Surer of the images that it knows by the sum of their pixels."""

    def __init__(self, known: Tensor) -> None:
        super().__init__(SHAPE, 4)
        self.sums = known.sum((1, 2, 3))

    def forward(self, x: Tensor) -> Tensor:
        near = (-1e4 * (x.sum((1, 2, 3))[:, None] - self.sums[None]).abs()).exp().amax(1)
        return (1 + 30 * near[:, None]) * super().forward(x)


def test_a_model_that_is_surer_of_the_test_points_than_of_others_is_betrayed() -> None:
    x, y = blobs(200, seed=3)
    with torch.no_grad():
        y = Cnn(SHAPE, 4).eval()(x).argmax(1)
    twin = (x[100:], y[100:])
    outcomes = {}
    for name, model in {"honest": Cnn(SHAPE, 4), "memory": Memory(x[:100])}.items():
        checks = run_checks(model, x[:100], y[:100], LINF, twin=twin)
        (outcomes[name],) = [check for check in checks if check.code == "test_set_lookup"]
    assert outcomes["honest"].outcome is PASSED
    assert abs(outcomes["honest"].value - 0.5) < 0.1  # type: ignore[operator]
    assert outcomes["memory"].outcome is REJECTED
    assert "100 test points" in outcomes["memory"].message


def test_fishers_exact_test_is_scipys() -> None:
    from scipy.stats import fisher_exact

    for wrong, n, missed, m in ((0, 500, 4, 200), (0, 500, 9, 200), (2, 300, 15, 200), (20, 100, 20, 100)):
        margins, others = torch.ones(n), torch.ones(m)
        margins[:wrong], others[:missed] = -1, -1
        p = fisher_exact([[wrong, n - wrong], [missed, m - missed]], alternative="less").pvalue
        assert _improbable(margins, others) == (p < 1e-6)


@pytest.mark.parametrize(("stored", "outcome"), [(0, PASSED), (1, FLAGGED), (3, REJECTED)])
def test_test_images_among_the_parameters_are_found_however_they_are_scaled(stored: int, outcome: CheckOutcome) -> None:
    x, y = blobs(80, seed=3)
    first = nn.Linear(64, 30)
    model = nn.Sequential(nn.Flatten(), first, nn.ReLU(), nn.Linear(30, 4))
    with torch.no_grad():
        first.weight[:stored] = -0.3 * x[:stored].flatten(1) + 0.7
    check = found(model, x, y, "stored_test_images")
    assert (check.value, check.outcome) == (stored, outcome)
    transposed = Cnn(SHAPE, 4)
    transposed.register_buffer("columns", x[:stored].flatten(1).T.contiguous() if stored else torch.rand(64, 5))
    assert found(transposed, x, y, "stored_test_images").value == stored


def test_where_nothing_is_held_out_a_shift_or_a_mirror_tells() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(40, 1, 4, 4, generator=generator).repeat_interleave(5, 2).repeat_interleave(5, 3)
    y = torch.arange(40) % 4

    class ByHeart(nn.Module):
        """Knows every image pixel by pixel, and beside that next to nothing."""

        def forward(self, images: Tensor) -> Tensor:
            same = (-1e3 * (images.flatten(1)[:, None] - x.flatten(1)[None]).square().sum(2)).exp()
            sums = images.mean((1, 2, 3))[:, None] * torch.tensor([[4.0, 3.0, 2.0, 1.0]])
            return sums + 9 * same @ nn.functional.one_hot(y, 4).float()

    check = found(ByHeart(), x, y, "test_set_lookup")
    assert check.outcome is FLAGGED
    assert check.value is not None
    assert check.value > 0.5
    coarse = nn.Sequential(nn.AvgPool2d(5), nn.Flatten(), nn.Linear(16, 4))
    with torch.no_grad():
        labels = coarse(x).argmax(1)
    assert found(coarse, x, labels, "test_set_lookup").outcome is PASSED


def test_a_policy_is_run_by_its_version() -> None:
    assert POLICY is policy_of_version(max(POLICIES))
    for version in (None, 1, max(POLICIES) + 1):
        with pytest.raises(InvalidInput, match="restrictions"):
            policy_of_version(version)


def test_the_rules_that_are_told_are_those_that_are_checked_and_in_the_same_ways() -> None:
    assert list(RULES) == list(POLICIES)
    assert POLICY.version == VERSION
    for version, policy in POLICIES.items():
        assert policy.version == version
        assert tuple(restriction.rule for restriction in policy.restrictions) == RULES[version]
        for restriction in policy.restrictions:
            rule = restriction.rule
            assert (restriction.on_model is not None, restriction.on_graph is not None) == (
                rule.on_model,
                rule.on_graph,
            )
        codes = [code for rule in RULES[version] for code in (rule.code, rule.graph_code)]
        assert len(set(codes)) == len(codes)
        assert all(rule.sentence.endswith(".") for rule in RULES[version])
        # One rule is looked at when the attacks are over, for it is about what they leave behind.
        unseen = [rule.code for rule in RULES[version] if not (rule.on_model or rule.on_graph)]
        assert unseen == ["changed_answers"]


def test_gradients_are_compared_in_float32_where_a_model_knows_nothing_else() -> None:
    class Single(Cnn):
        def forward(self, x: Tensor) -> Tensor:
            if x.dtype is not torch.float32:
                raise TypeError("float32 alone")
            return super().forward(x)

    class SinglyThrough(Single):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x + ((x * 4).round() / 4 - x).detach())

    x, y = blobs(80, seed=3)
    honest, cheat = found(Single(SHAPE, 4), x, y, "shattered_gradient"), None
    assert honest.outcome is PASSED
    assert "float32" in honest.message
    cheat = found(SinglyThrough(SHAPE, 4), x, y, "shattered_gradient")
    assert cheat.outcome is REJECTED


def test_values_are_numbers_that_a_report_can_hold() -> None:
    x, y = blobs(80, seed=3)
    for model, _ in ODD.values():
        for check in run_checks(model, x, y, LINF):
            assert check.value is None or math.isfinite(check.value)


def test_bad_points_are_refused_before_the_model_runs() -> None:
    x, y = blobs(8, seed=3)
    with pytest.raises(InvalidInput, match="values in"):
        run_checks(Raising(SHAPE, 4), x * 255, y, LINF)
