"""A larger budget must help the attacker."""

from __future__ import annotations

from benchmark.diagnostics.reading import Reading, least_share
from benchmark.diagnostics.sample import Sample
from benchmark.report import Evidence

_KEPT = 0.9
_NEARLY_ALL = 0.9
_READING = Reading(
    code="larger_budget_does_not_help",
    flagged="What a small budget allows a larger one allows too, and much besides; where it does not help, the attack "
    "ends for another reason than the budget. The robust accuracy may be too high.",
    passed="The robust accuracy falls as the budget grows, as it must where attacks use what they are allowed.",
    remedy="Look for gradients that are zero or point the wrong way, and attack an approximation that has others.",
)


def larger_budget_does_not_help(sample: Sample) -> Evidence:
    """Flag a model on which the robust accuracy does not fall from epsilon over its double to its fourfold.

    It must not rise from one to the next by as much as two points, and of what is robust at epsilon less than 90 % may
    be so at the fourfold. Where a model keeps 90 % at epsilon and falls only in the whole box, its budget is too small
    to tell.

    Measured: at the boards' budgets honest models fall to 0, at Linf 8/255 to at most 43 % of what they had, and none
    rises. Behind rounding, and where gradients are there for the clean images alone, 98 to 100 % are kept.

    Source:
        Athalye et al. 2018, arXiv:1802.00420, section 3.1; Carlini et al. 2019, arXiv:1902.06705.
    """
    points = len(sample)
    at_once, doubled, fourfold, whole = (
        1 - int(broken.sum()) / points
        for broken in (
            sample.iterative,
            sample.iterative_within(sample.enlarged(2)),
            sample.iterative_within(sample.enlarged(4)),
            sample.unbounded,
        )
    )
    rise, threshold = max(doubled - at_once, fourfold - doubled), least_share(points)
    kept = fourfold / at_once if at_once >= threshold else 0.0
    numbers = {
        "points": points,
        "epsilon": sample.threat_model.radius,
        "robust_accuracy": at_once,
        "robust_accuracy_2_epsilon": doubled,
        "robust_accuracy_4_epsilon": fourfold,
        "robust_accuracy_whole_box": whole,
    }
    message = f"The robust accuracy is {at_once:.3f} at epsilon, {doubled:.3f} at 2 and {fourfold:.3f} at 4 epsilon."
    if rise >= threshold:
        return _READING.evidence(flagged=True, value=rise, threshold=threshold, message=message, numbers=numbers)
    if kept >= _KEPT and at_once >= _NEARLY_ALL and whole < threshold:
        return _READING.not_assessed("even four times the budget is too small to break much", numbers)
    return _READING.evidence(flagged=kept >= _KEPT, value=kept, threshold=_KEPT, message=message, numbers=numbers)
