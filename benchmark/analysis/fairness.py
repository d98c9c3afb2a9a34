"""Fairness: how evenly accuracy and robustness are spread over the classes. Nothing here needs torch."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, pstdev

from benchmark.analysis.results import Fairness
from benchmark.report import EvaluationReport

PROTOCOL = "apgd-t(steps=20,targets=3)"
"""The attack by which robust accuracy is compared class by class: cheap, and close to that of the full ensemble."""


def fairness(report: EvaluationReport) -> Fairness:
    """Compare the classes of an evaluation.

    Args:
        report: of an evaluation by `PROTOCOL`, or by a stronger one.
    Source:
        Croce et al. 2021, arXiv:2010.09670, section 4: standard deviation over mean of the classwise accuracies, under
        targeted APGD on the DLR loss with 3 targets of 20 iterations.
    """
    worst = min(report.classwise, key=lambda part: part.robust_accuracy)
    return Fairness(
        classes=report.classwise,
        standard_spread=relative_standard_deviation([part.standard_accuracy for part in report.classwise]),
        robust_spread=relative_standard_deviation([part.robust_accuracy for part in report.classwise]),
        worst_class=worst.label,
        worst_robust_accuracy=worst.robust_accuracy,
    )


def relative_standard_deviation(values: Sequence[float]) -> float | None:
    """Return the standard deviation of all values over their mean; None where the mean is 0, or there are none.

    Args:
        values: at least 0 each.
    """
    if not values or (mean := fmean(values)) == 0:
        return None
    return pstdev(values) / mean
