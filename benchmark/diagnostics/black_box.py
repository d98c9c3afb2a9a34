"""An attack without gradients must not find what attacks with gradients miss."""

from __future__ import annotations

from benchmark.diagnostics.reading import Reading, least_share
from benchmark.diagnostics.sample import Sample
from benchmark.report import Evidence

_SQUARE = "square(queries=500)"
_READING = Reading(
    code="black_box_beats_white_box",
    flagged="Whoever sees the gradients knows more than whoever only asks for answers, so finding less means that the "
    "gradients mislead. The robust accuracy rests on attacks without them and may be too high.",
    passed="Random search finds no more than the attacks that follow gradients, as it must where these are of use.",
    remedy="Look for operations whose gradients do not say how the answer changes, and attack an approximation.",
)


def black_box_beats_white_box(sample: Sample) -> Evidence:
    """Flag a model on which a short run of Square breaks points that the iterative gradient attacks leave.

    Measured: at most 1 of 64 points on every honest model, in every norm; 4 to 6 on networks trained in Linf and
    attacked in L2, 17 and 12 behind a steep sigmoid, 62 and 18 behind rounding, undefended and PGD-trained.

    Source:
        Athalye et al. 2018, arXiv:1802.00420, section 3.1; Carlini et al. 2019, arXiv:1902.06705.
    """
    points, threshold = len(sample), least_share(len(sample))
    missed = int(sample.attack(_SQUARE, among=~sample.iterative).sum())
    return _READING.evidence(
        flagged=missed / points >= threshold,
        value=missed / points,
        threshold=threshold,
        message=f"Square broke {missed} of {points} points that the gradient attacks had missed.",
        numbers={
            "points": points,
            "broken_by_gradient_attacks": int(sample.iterative.sum()),
            "broken_by_square_alone": missed,
        },
    )
