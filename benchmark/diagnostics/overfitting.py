"""Training against a single step must not have taught the network to resist that step alone."""

from __future__ import annotations

from benchmark.diagnostics.reading import Reading
from benchmark.diagnostics.sample import Sample
from benchmark.report import Evidence

_THRESHOLD = 0.7
_READING = Reading(
    code="catastrophic_overfitting",
    flagged="The network resists a single step and falls to many: its accuracy under attacks of one step says nothing, "
    "only that under iterative attacks counts.",
    passed="A single step and many steps of the same attack tell a similar story.",
    remedy="Train against more steps, or keep gradients aligned, and watch an iterative attack meanwhile.",
)


def catastrophic_overfitting(sample: Sample) -> Evidence:
    """Flag a model whose accuracy under one step on the cross-entropy is far above that under many.

    Measured: a gap of up to 0.28 on honest models in Linf, 0.41 in L2, and 0.55 in L1, where one step changes but a few
    pixels; 0.92 to 0.97 on networks trained against a single step at a great epsilon.

    Source:
        Wong et al. 2020, arXiv:2001.03994, section 5; Andriushchenko & Flammarion 2020, arXiv:2007.02617.
    """
    points = len(sample)
    one_step = 1 - int(sample.one_step.sum()) / points
    iterative = 1 - int(sample.cross_entropy.sum()) / points
    gap = one_step - iterative
    return _READING.evidence(
        flagged=gap >= _THRESHOLD,
        value=gap,
        threshold=_THRESHOLD,
        message=f"Accuracy is {one_step:.3f} under one step on the cross-entropy and {iterative:.3f} under many.",
        numbers={"points": points, "accuracy_one_step": one_step, "accuracy_iterative": iterative},
    )
