"""The answer must be one finite row of logits for each image, and logits rather than probabilities."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark.report import Check, CheckOutcome
from benchmark.restrictions.subject import Subject, passed

_SIMPLEX_TOLERANCE = 1e-5


def output_shape(subject: Subject) -> Check:
    """Reject a model that fails on an image batch or does not answer (n, classes) floating-point numbers."""
    code = "output_shape"
    remedy = "Return one row of floating-point logits for each image, as wide as the data set has classes."

    def rejected(message: str) -> Check:
        return Check(code=code, outcome=CheckOutcome.REJECTED, message=message, remedy=remedy)

    try:
        answer = subject.answer()
    except Exception as error:  # noqa: BLE001 - whatever a submitted model raises is a finding about it
        return rejected(f"The forward pass raised {type(error).__name__}: {str(error)[:300]}")
    n, least = len(subject.x), int(subject.y.max()) + 1
    if not isinstance(answer, Tensor):
        return rejected(f"Found {type(answer).__name__}, expected a tensor of logits.")
    if answer.ndim != 2 or len(answer) != n:
        return rejected(f"Found shape {tuple(answer.shape)}, expected ({n}, classes) for {n} images.")
    if not answer.is_floating_point():
        return rejected(f"Found {answer.dtype}, expected floating-point logits.")
    width = answer.shape[1]
    if width < 2 or width < least or (subject.classes is not None and width != subject.classes):
        return rejected(f"Found {width} logits, expected {subject.classes or f'at least {max(least, 2)}'}.")
    return passed(code, f"Answers with {width} logits for each image.", float(width))


def finite_output(subject: Subject) -> Check:
    """Reject logits that are NaN or infinite on clean images."""
    unusable = (~torch.isfinite(subject.logits())).any(1).float().mean().item()
    if unusable == 0:
        return passed("non_finite_output", "All logits are finite.", 0.0, 0.0)
    return Check(
        code="non_finite_output",
        outcome=CheckOutcome.REJECTED,
        value=unusable,
        threshold=0.0,
        message=f"{unusable:.1%} of the clean images get logits that are NaN or infinite.",
        remedy="Look for overflow, division by zero or unset weights in the checkpoint.",
    )


def softmax_output(subject: Subject) -> Check:
    """Flag answers that are probabilities: losses on logits lose their gradients there."""
    logits = subject.logits()
    distance = max(
        (-logits).clamp_min(0).max().item(),
        (logits - 1).clamp_min(0).max().item(),
        (logits.sum(1) - 1).abs().max().item(),
    )
    if distance > _SIMPLEX_TOLERANCE:
        return passed("softmax_output", "The answers are not probabilities.", distance, _SIMPLEX_TOLERANCE)
    return Check(
        code="softmax_output",
        outcome=CheckOutcome.FLAGGED,
        value=distance,
        threshold=_SIMPLEX_TOLERANCE,
        message="Every answer is a probability distribution, so gradients of the losses may vanish.",
        remedy="Return the logits from before the softmax.",
    )
