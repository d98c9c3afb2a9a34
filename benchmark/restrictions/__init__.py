"""Admission rules, one per file. A finding is named after its symptom."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from benchmark.classifier import check_points, frozen
from benchmark.report import Check, CheckOutcome
from benchmark.restrictions.optimization import optimization_at_inference
from benchmark.restrictions.output import finite_output, output_shape, softmax_output
from benchmark.restrictions.randomized import randomized
from benchmark.restrictions.subject import Restriction, Subject
from benchmark.restrictions.zero_gradient import zero_gradient
from benchmark.threat_models import ThreatModel

POLICY_VERSION = 1
SAMPLE = 64
"""Points that the restrictions look at."""

_CODES: dict[str, Restriction] = {
    "non_finite_output": finite_output,
    "softmax_output": softmax_output,
    "randomized": randomized,
    "zero_gradient": zero_gradient,
    "optimization_at_inference": optimization_at_inference,
}


def run_checks(
    model: nn.Module, x: Tensor, y: Tensor, threat_model: ThreatModel, *, classes: int | None = None
) -> tuple[Check, ...]:
    """Run every restriction on a sample and return all checks, the passed ones included.

    Args:
        model: from images in [0, 1] to logits; left as it was found.
        x: clean points, (n, c, h, w), float32 in [0, 1]; the first 64 are used.
        y: labels, (n,), int64.
        threat_model: what the attacker may do.
        classes: number of classes of the data set, where known.
    """
    check_points(x, y)
    with frozen(model), torch.random.fork_rng():
        # Cloned here, for labels made under inference mode could not take part in a gradient.
        subject = Subject(model, x[:SAMPLE].clone(), y[:SAMPLE].clone(), threat_model, classes)
        shape = output_shape(subject)
        if shape.outcome is CheckOutcome.REJECTED:
            return (shape, *_not_assessed("the output cannot be used", set(_CODES)))
        finite = _run("non_finite_output", finite_output, subject)
        if finite.outcome is CheckOutcome.REJECTED:
            return (shape, finite, *_not_assessed("the output cannot be used", set(_CODES) - {finite.code}))
        rest = (_run(code, restriction, subject) for code, restriction in _CODES.items() if code != finite.code)
        return (shape, finite, *rest)


def check_restrictions(model: nn.Module, x: Tensor, y: Tensor, threat_model: ThreatModel) -> list[Check]:
    """Return the findings: the checks that are not passed; an empty list for an honest model.

    Args:
        model: from images in [0, 1] to logits; left as it was found.
        x: clean points, (n, c, h, w), float32 in [0, 1].
        y: labels, (n,), int64.
        threat_model: what the attacker may do.
    """
    return [check for check in run_checks(model, x, y, threat_model) if check.outcome is not CheckOutcome.PASSED]


def _run(code: str, restriction: Restriction, subject: Subject) -> Check:
    try:
        return restriction(subject)
    except Exception as error:  # noqa: BLE001 - a model that breaks a check has not passed it
        return Check(
            code=code,
            outcome=CheckOutcome.REJECTED,
            message=f"The check could not be run: {type(error).__name__}: {str(error)[:300]}",
            remedy="Make the model differentiable with respect to its input and free of side effects.",
        )


def _not_assessed(why: str, codes: Collection[str]) -> Sequence[Check]:
    return [
        Check(
            code=code,
            outcome=CheckOutcome.NOT_ASSESSED,
            message=f"Not assessed: {why}.",
            remedy="Mend the first finding and check again.",
        )
        for code in _CODES
        if code in codes
    ]
