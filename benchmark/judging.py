"""The only judge of "broken". An attack proposes; what it claims is recomputed here."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.classifier import Classifier
from benchmark.norms import Norm

RELATIVE_TOLERANCE = 1e-5
ABSOLUTE_TOLERANCE = 1e-7
"""A float32 clamp of x ± epsilon overshoots by up to 2e-6 relative; nothing honest needs more than this."""


@dataclass(frozen=True)
class Judgement:
    """The verdict on n proposed examples.

    Args:
        broken: inside the threat model and misclassified, (n,).
        over_budget: not finite, outside [0, 1] or too far away, (n,); such an example breaks nothing.
        distance: in the threat model's norm, computed in float64, (n,).
    """

    broken: Tensor
    over_budget: Tensor
    distance: Tensor


def judge(classifier: Classifier, x: Tensor, y: Tensor, x_adv: Tensor, norm: Norm, epsilon: float) -> Judgement:
    """Judge proposed adversarial examples, in float32 and by the unmodified model.

    An answer that is not finite is not a correct classification, so it counts as misclassified.

    Args:
        classifier: the model; these passes are the judge's, not an attack's.
        x: clean points, (n, d).
        y: labels, (n,).
        x_adv: proposals, (n, d).
        norm: the threat model's norm.
        epsilon: its budget in pixel units.
    """
    distance = norm.distance(x_adv.double() - x.double())
    limit = epsilon * (1 + RELATIVE_TOLERANCE) + ABSOLUTE_TOLERANCE
    inside = torch.isfinite(x_adv).all(1) & (x_adv >= 0).all(1) & (x_adv <= 1).all(1) & (distance <= limit)
    logits = classifier.logits_of_all(x_adv)
    return Judgement(inside & misclassified(logits, y), ~inside, distance)


def misclassified(logits: Tensor, y: Tensor) -> Tensor:
    """Return which answers are not the label, (n,)."""
    # A finite number less itself is 0, anything else is not: fewer operations than torch.isfinite.
    return ~((logits.argmax(1) == y) & (logits - logits == 0).all(1))
