"""After an evaluation the model must answer as before it: what changed its mind meanwhile is against the rules."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark import rules
from benchmark.classifier import Classifier, pad_rows
from benchmark.errors import EvaluationFailed
from benchmark.losses import cross_entropy
from benchmark.report import Check
from benchmark.restrictions.subject import Restriction, graded

_REJECT_FROM = 1e-4
_LEAST_ON_CUDA = 1e-5
"""Kernels of a GPU may add in another order the next time."""
_REMEDY = "Compute the logits from the images and fixed parameters alone: no counters, no clocks, no memory of images."


@dataclass(frozen=True)
class Answers:
    """What a model answers for one batch.

    Args:
        logits: (n, classes).
        grad: of the cross-entropy with respect to the images, (n, d).
    """

    logits: Tensor
    grad: Tensor


def answers_of(judge: Classifier, x: Tensor, y: Tensor) -> Answers:
    """Ask a model for the first batch.

    Args:
        judge: the model.
        x: flat points, (n, d), of which the first batch is taken.
        y: their labels, (n,).
    """
    x, y = x[: judge.width], y[: judge.width]
    rows = judge.padded(len(x))
    images, labels = pad_rows(x, rows), pad_rows(y, rows)
    try:
        found = judge.gradient(images, lambda logits: cross_entropy(logits, labels))
    except EvaluationFailed:  # an evaluation need not ask for gradients
        return Answers(judge.logits(images)[: len(x)], torch.zeros_like(x))
    return Answers(found.logits[: len(x)], found.grad[: len(x)])


def replay_check(first: Answers, again: Answers) -> Check:
    """Reject a model whose answers for the first batch are others after the run; on a CPU flag a single bit.

    Args:
        first: before the run.
        again: after it, for the same images in a batch of the same size.
    """
    pairs = ((first.logits, again.logits), (first.grad, again.grad))
    moved = max(_distance(one, other) for one, other in pairs)
    exact = first.logits.device.type == "cpu"
    what = "bit for bit" if exact else "as far as a GPU's arithmetic allows"
    message = f"After the run the first batch gets the same logits and gradients as before it, {what}."
    if moved > 0:
        message = f"After the run the first batch's logits or gradients differ by {moved:.2g} of their length."
    least = torch.finfo(torch.float32).tiny if exact else _LEAST_ON_CUDA
    return graded(RESTRICTION.code, message, moved, flag_from=least, reject_from=_REJECT_FROM, remedy=_REMEDY)


def _distance(one: Tensor, other: Tensor) -> float:
    """Return the length of the difference relative to the first's; 0 only where every bit is equal."""
    if torch.equal(one.nan_to_num(), other.nan_to_num()) and torch.equal(one.isnan(), other.isnan()):
        return 0.0
    one, other = one.double().nan_to_num(), other.double().nan_to_num()
    return max(float((one - other).norm() / one.norm().clamp_min(1e-12)), torch.finfo(torch.float32).tiny)


RESTRICTION = Restriction(rules.CHANGED_ANSWERS)
