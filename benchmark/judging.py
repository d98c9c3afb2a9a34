"""The only judge of "broken". An attack proposes; what it claims is recomputed here."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.classifier import Classifier
from benchmark.norms import Norm
from benchmark.verdicts import Verdict, largest_distance


@dataclass(frozen=True)
class Judgement:
    """The verdict on n proposed examples, and all that it follows from.

    Args:
        finite: no value is NaN or infinite, (n,).
        inside_box: every value is in [0, 1], (n,).
        within_budget: the distance is at most epsilon, give or take the tolerance, (n,).
        misclassified: the model's answer is not the label, (n,).
        distance: in the threat model's norm, computed in float64, (n,).
    """

    finite: Tensor
    inside_box: Tensor
    within_budget: Tensor
    misclassified: Tensor
    distance: Tensor

    @property
    def broken(self) -> Tensor:
        """Inside the threat model and misclassified, (n,)."""
        return ~self.over_budget & self.misclassified

    @property
    def over_budget(self) -> Tensor:
        """Not finite, outside [0, 1] or too far away, (n,); such an example breaks nothing."""
        return ~(self.finite & self.inside_box & self.within_budget)

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """One verdict for each example: that it holds exactly where it breaks its point."""
        in_order = (
            (Verdict.NOT_FINITE, self.finite),
            (Verdict.OUTSIDE_BOX, self.inside_box),
            (Verdict.OVER_BUDGET, self.within_budget),
            (Verdict.CLASSIFIED_CORRECTLY, self.misclassified),
        )
        names = [verdict for verdict, _ in in_order]
        rows = zip(*(fulfilled.tolist() for _, fulfilled in in_order), strict=True)
        return tuple(Verdict.HOLDS if all(row) else names[row.index(False)] for row in rows)


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
    return Judgement(
        finite=torch.isfinite(x_adv).all(1),
        inside_box=(x_adv >= 0).all(1) & (x_adv <= 1).all(1),
        within_budget=distance <= largest_distance(epsilon),
        misclassified=misclassified(classifier.logits_of_all(x_adv), y),
        distance=distance,
    )


def misclassified(logits: Tensor, y: Tensor) -> Tensor:
    """Return which answers are not the label, (n,)."""
    # A finite number less itself is 0, anything else is not: fewer operations than torch.isfinite.
    return ~((logits.argmax(1) == y) & (logits - logits == 0).all(1))
