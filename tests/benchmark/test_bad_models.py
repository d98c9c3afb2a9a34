"""Models that answer with something else than logits: an error that says so, or a finding, but never a robust point."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from benchmark import ThreatModel, evaluate
from benchmark.errors import EvaluationFailed, InvalidInput
from benchmark.report import CheckOutcome, EvaluationReport
from tests.benchmark.models import Cnn, Robust, Shape, answers, points

SHAPE: Shape = (1, 4, 4)
CLASSES = 6
N = 20
LINF = ThreatModel("Linf", "1/1000")
EVERY_ATTACK = "apgd-ce(steps=2)+apgd-t(steps=2)+fab(steps=2)+fab-t(steps=2)+square(queries=4)"


class Count:
    """A number that copies of a model share, for the attacks may search with a copy."""

    def __init__(self) -> None:
        self.value = 0

    def __deepcopy__(self, _memo: object) -> Count:
        return self


class Odd(nn.Module):
    """A sound network whose answers pass through a function of the logits, the images and the number of the pass."""

    def __init__(self, change: Callable[[Tensor, Tensor, int], object]) -> None:
        super().__init__()
        self.inner = Cnn(SHAPE, CLASSES).eval()
        self.change = change
        self.count = Count()

    @property
    def passes(self) -> int:
        """How often it was asked."""
        return self.count.value

    def forward(self, x: Tensor) -> Tensor:
        self.count.value += 1
        return self.change(self.inner(x), x, self.passes)  # type: ignore[return-value]


def _report(model: nn.Module, protocol: str = EVERY_ATTACK, *, diagnostics: bool = False) -> EvaluationReport:
    x, _ = points(N, SHAPE, CLASSES)
    y = answers(Cnn(SHAPE, CLASSES).eval(), x)
    return evaluate(model, x, y, LINF, protocol=protocol, batch_size=16, diagnostics=diagnostics).report


def _rejected(report: EvaluationReport) -> set[str]:
    return {check.code for check in report.findings if check.outcome is CheckOutcome.REJECTED}


def test_the_sound_network_itself_has_no_findings() -> None:
    report = _report(Odd(lambda logits, _x, _pass: logits), diagnostics=True)
    assert (report.standard_accuracy, report.robust_accuracy) == (1, 1)
    assert not _rejected(report)
    assert [attack.attacked for attack in report.attacks] == [N] * 5


UNUSABLE: dict[str, Callable[[Tensor], object]] = {
    "one number for each image": lambda logits: logits.amax(1),
    "a tuple": lambda logits: (logits, logits),
    "a dictionary": lambda logits: {"logits": logits},
    "a list": lambda logits: logits.tolist(),
    "nothing": lambda logits: None,
    "maps": lambda logits: logits[:, :, None, None],
    "one row": lambda logits: logits[:1],
    "complex": lambda logits: logits.to(torch.complex64),
    "sparse": lambda logits: logits.detach().to_sparse(),
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_what_is_no_table_of_logits_fails_before_any_attack(kind: str) -> None:
    change = UNUSABLE[kind]
    model = Odd(lambda logits, _x, _pass: change(logits))
    with pytest.raises(EvaluationFailed, match=r"answered 16 images with .*, not with .16, classes. real numbers"):
        _report(model)
    assert model.passes <= 3


@pytest.mark.parametrize("width", [0, 1])
def test_fewer_than_two_logits_are_refused_before_any_attack(width: int) -> None:
    model = Odd(lambda logits, _x, _pass: logits[:, :width])
    with pytest.raises(InvalidInput, match=f"{width} logits"):
        _report(model)
    assert model.passes <= 6  # the checks, the clean points, and whether a faster form of the model answers alike


@pytest.mark.parametrize("width", [3, 9], ids=["narrower", "wider"])
def test_a_width_that_changes_at_any_pass_is_an_error(width: int) -> None:
    """Whichever attack is running: all would go on with targets that mean other classes."""

    def answering(logits: Tensor, first_other: int, number: int) -> Tensor:
        return logits if number < first_other else torch.cat((logits, logits), 1)[:, :width]

    sound = Odd(lambda logits, _x, _pass: logits)
    clean = Odd(lambda logits, _x, _pass: logits)
    _report(sound)
    with pytest.raises(EvaluationFailed):
        # The clean points are asked for in two batches, of which the second answers otherwise.
        _report(Odd(lambda logits, x, _pass: answering(logits, 0, -1 if len(x) == 16 else 1)))
    _report(clean, "fgsm")
    assert sound.passes > clean.passes + 50
    for first_other in range(clean.passes, sound.passes + 1, 5):
        model = Odd(lambda logits, _x, number, first_other=first_other: answering(logits, first_other, number))  # type: ignore[misc]
        with pytest.raises(EvaluationFailed, match="real numbers"):
            _report(model)


def test_a_width_that_depends_on_the_batch_is_an_error() -> None:
    with pytest.raises(EvaluationFailed, match=r"not with .8, 4. real numbers"):
        _report(Odd(lambda logits, x, _pass: logits[:, : 6 - len(x) // 8]), protocol="apgd-ce")


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_an_answer_that_is_not_finite_is_wrong_and_found(value: float) -> None:
    """Also where the infinity stands in the label's own column, which argmax takes for right."""
    model = Odd(lambda logits, _x, _pass: logits.scatter(1, logits.argmax(1, keepdim=True), value))
    report = _report(model)
    assert (report.standard_accuracy, report.robust_accuracy) == (0, 0)
    assert "non_finite_output" in _rejected(report)


@pytest.mark.parametrize(
    "attack",
    ["apgd-ce", "apgd-dlr", "apgd-t", "fgsm", "mi-fgsm", "multi-targeted", "pgd", "spsa(steps=2)", "square"],
)
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_an_answer_that_is_finite_on_clean_images_alone_is_broken_by_every_attack(value: float, attack: str) -> None:
    """Every attack but FAB, whose iterates lie far beyond the budget where the label leads by so much."""

    class Brittle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.robust = Robust(SHAPE, CLASSES)

        def forward(self, x: Tensor) -> Tensor:
            changed = (x != x.round(decimals=1)).flatten(1).any(1, keepdim=True)
            logits = torch.as_tensor(self.robust(x))
            return torch.where(changed & (logits == logits.amax(1, keepdim=True)), value, logits)

    x = points(5, SHAPE, CLASSES)[0].round(decimals=1)
    y = torch.zeros(5, dtype=torch.int64)
    report = evaluate(Brittle(), x, y, ThreatModel("Linf", "1/30"), protocol=attack).report
    assert (report.standard_accuracy, report.robust_accuracy) == (1, 0)


def test_a_model_that_hides_its_gradients_behind_nan_is_found() -> None:
    report = _report(Odd(lambda logits, x, _pass: logits * torch.nan if x.requires_grad else logits))
    assert {"randomized", "zero_gradient"} & _rejected(report)


def test_targets_and_steps_must_be_at_least_one() -> None:
    model = Odd(lambda logits, _x, _pass: logits)
    for protocol in ("apgd-t(targets=0)", "fab-t(targets=-1)", "apgd-ce(steps=0)", "square(queries=0)", "pgd(eot=3)"):
        with pytest.raises(InvalidInput) as caught:
            _report(model, protocol)
        assert caught.value.detail is not None
        assert caught.value.detail.field == "protocol"
    assert model.passes == 0
