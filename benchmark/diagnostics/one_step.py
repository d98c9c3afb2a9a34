"""One step must not find what many steps miss."""

from __future__ import annotations

from benchmark.diagnostics.reading import Reading, least_share
from benchmark.diagnostics.sample import Sample
from benchmark.report import Evidence

_READING = Reading(
    code="one_step_beats_iterative",
    flagged="Many steps can take the single step too, so they find less only where gradients lead them astray. "
    "The robust accuracy may be too high.",
    passed="Many steps find all that a single step finds, as they must where gradients lead the right way.",
    remedy="Look for what makes gradients at the data unlike those around them, and attack without it.",
)


def one_step_beats_iterative(sample: Sample) -> Evidence:
    """Flag a model on which the fast gradient method breaks points that the iterative attacks leave.

    Measured: 0 of 64 points on every honest model, in every norm; 3 where pixels pass through a steep sigmoid, 60 where
    gradients are there for the clean images alone.

    Source:
        Athalye et al. 2018, arXiv:1802.00420, section 3.1; Carlini et al. 2019, arXiv:1902.06705.
    """
    points, threshold = len(sample), least_share(len(sample))
    missed = int((sample.one_step & ~sample.iterative).sum())
    return _READING.evidence(
        flagged=missed / points >= threshold,
        value=missed / points,
        threshold=threshold,
        message=f"One step broke {missed} of {points} points that the iterative attacks had missed.",
        numbers={
            "points": points,
            "broken_by_one_step": int(sample.one_step.sum()),
            "broken_by_iterative": int(sample.iterative.sum()),
            "broken_by_one_step_alone": missed,
        },
    )
