"""An attacker who may do anything must succeed."""

from __future__ import annotations

from benchmark.diagnostics.reading import Reading, least_share
from benchmark.diagnostics.sample import Sample
from benchmark.report import Evidence

_READING = Reading(
    code="unbounded_attack_fails",
    flagged="With the whole box allowed, every point can become any other image; an attack that fails even there "
    "cannot see where to go. The robust accuracy may be too high.",
    passed="With the whole box allowed the attack breaks practically every point, so it can see where to go.",
    remedy="Look for gradients that are zero or point the wrong way, and attack an approximation that has others.",
)


def unbounded_attack_fails(sample: Sample) -> Evidence:
    """Flag a model on which the iterative gradient attacks leave points although the whole box is allowed.

    Measured: 0 of 64 points are left on every honest model, in every norm; 3 or 4 where gradients are zero and random
    starts do the work, a third to two thirds with two classes and reversed gradients. A network whose training failed
    and that always gives the same answer is flagged too, for there is nothing to find.

    Source:
        Athalye et al. 2018, arXiv:1802.00420, section 3.1; Carlini et al. 2019, arXiv:1902.06705.
    """
    points, threshold = len(sample), least_share(len(sample))
    left = points - int(sample.unbounded.sum())
    return _READING.evidence(
        flagged=left / points >= threshold,
        value=left / points,
        threshold=threshold,
        message=f"With the whole box allowed, the gradient attacks left {left} of {points} points.",
        numbers={"points": points, "epsilon": sample.covering.radius, "robust_accuracy": left / points},
    )
