"""Robust accuracy by budget: what is left as the attacker is allowed more."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor, nn

from benchmark.analysis.fairness import PROTOCOL
from benchmark.analysis.results import Curve, CurvePoint
from benchmark.classifier import Classifier, check_points, frozen
from benchmark.ensemble import Run
from benchmark.errors import InvalidInput
from benchmark.judging import misclassified
from benchmark.pipeline import evaluate_points
from benchmark.protocols import protocol_named
from benchmark.threat_models import ThreatModel

GRID = tuple(Fraction(eighths, 8) for eighths in range(1, 17))
"""Budgets in parts of the threat model's own, which is one of them."""


def curve(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat_model: ThreatModel,
    *,
    index: Sequence[int] | None = None,
    grid: Sequence[Fraction] = GRID,
    protocol: str = PROTOCOL,
    seed: int = 0,
    width: int = 64,
) -> Curve:
    """Attack within one budget after another, from the least to the greatest.

    An example within a budget is one within every greater one, so that only those points are attacked at a budget that
    no smaller one has broken. The curve never rises, and costs far less than as many evaluations.

    Args:
        model: from images (n, c, h, w) in [0, 1] to logits (n, classes), in eval mode.
        x: clean points, (n, c, h, w), float32 in [0, 1].
        y: labels, (n,), int64.
        threat_model: the norm, and the budget that the grid is in parts of.
        index: positions of the points in the data set, ascending, to which the draws belong; by default 0 to n - 1.
        grid: the budgets, ascending, each more than 0; the budget 0 comes before them.
        protocol: the attacks, which have no random draws that depend on other points.
        seed: of all draws.
        width: rows of a batch.
    Raises:
        InvalidInput: the points cannot be used, or the grid does not ascend.
        EvaluationFailed: the model failed.
    Source:
        Dong et al. 2020, arXiv:1912.11852, section 4, robustness curves. Differs: what is broken stays broken, and the
        attack is that by which classes are compared, see `benchmark.analysis.fairness`.
    """
    check_points(x, y)
    if not grid or any(small >= great for small, great in zip((Fraction(0), *grid), grid, strict=False)):
        raise InvalidInput.because(
            "grid", found=", ".join(map(str, grid))[:80] or "no budget", expected="budgets above 0 that ascend",
            remedy="sort them, and leave double ones out",
        )  # fmt: skip
    places = range(len(y)) if index is None else index
    left = _right(model, x, y, width)
    at = [CurvePoint(epsilon=0.0, robust_accuracy=_share(left))]
    for part in grid:
        within = ThreatModel(threat_model.norm, threat_model.epsilon * part, threat_model.dataset)
        rows = torch.nonzero(left).flatten()
        if len(rows):
            run = Run(within, protocol_named(protocol), seed, width, x.device)
            robust = evaluate_points(
                model, x[rows], y[rows], [places[row] for row in rows.tolist()], run
            ).report.points.robust
            left = left.clone()
            left[rows] = torch.tensor(robust, device=left.device)
        at.append(CurvePoint(epsilon=within.radius, robust_accuracy=_share(left)))
    return Curve(protocol=protocol, points=len(y), at=tuple(at))


def _right(model: nn.Module, x: Tensor, y: Tensor, width: int) -> Tensor:
    channels, height, columns = x.shape[1:]
    with frozen(model):
        return ~misclassified(Classifier(model, (channels, height, columns), width).logits_of_all(x.flatten(1)), y)


def _share(left: Tensor) -> float:
    return float(left.double().mean())
