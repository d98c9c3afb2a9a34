"""Random noise must not find what gradients miss."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark.diagnostics.draws import KINDS, random_points
from benchmark.diagnostics.reading import Reading, least_share
from benchmark.diagnostics.sample import Sample
from benchmark.report import Evidence

_DRAWS = 34
"""Of each kind, so that a point gets about a hundred."""
_READING = Reading(
    code="noise_helps",
    flagged="Noise knows nothing of the model, so points that it breaks and gradients miss show that these mislead. "
    "The robust accuracy may be too high.",
    passed="A hundred random perturbations of each point find nothing that the attacks with gradients had missed.",
    remedy="Look for gradients that are zero or point the wrong way, and attack an approximation that has others.",
)


def noise_helps(sample: Sample) -> Evidence:
    """Flag a model on which random perturbations break points that the iterative gradient attacks leave.

    They are drawn from inside the ball, from its surface and among its extreme points.

    Measured: 0 of 64 points on every honest model, in every norm; 13 and 7 behind a steep sigmoid, 37 and 9 behind
    rounding, undefended and PGD-trained.

    Source:
        Athalye et al. 2018, arXiv:1802.00420, section 3.1; Carlini et al. 2019, arXiv:1902.06705.
    """
    points, threshold = len(sample), least_share(len(sample))
    rows = torch.nonzero(~sample.iterative).flatten()
    broken = {kind: _broken(sample, rows, kind) for kind in KINDS}
    missed = int(torch.stack(list(broken.values())).any(0).sum())
    return _READING.evidence(
        flagged=missed / points >= threshold,
        value=missed / points,
        threshold=threshold,
        message=f"Random noise broke {missed} of {points} points that the gradient attacks had missed.",
        numbers={
            "points": points,
            "draws": _DRAWS * len(KINDS),
            "broken_by_gradient_attacks": points - len(rows),
            "broken_by_noise_alone": missed,
        }
        | {f"broken_{kind}": int(found.sum()) for kind, found in broken.items()},
    )


def _broken(sample: Sample, rows: Tensor, kind: str) -> Tensor:
    """Return which of some points break under random perturbations of one kind, (m,)."""
    broken = torch.zeros(len(rows), dtype=torch.bool)
    for number in range(_DRAWS if len(rows) else 0):
        x_adv = random_points(sample, rows, kind, "noise", number)
        broken |= sample.broken(rows.to(sample.device), x_adv, sample.threat_model)
    return broken
