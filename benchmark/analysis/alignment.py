"""Gradient alignment: whether gradients around a point have to do with the gradient at the point."""

from __future__ import annotations

from torch import nn

from benchmark.analysis.material import LeftOut
from benchmark.analysis.results import Alignment
from benchmark.datasets import LabelledPoints
from benchmark.diagnostics.alignment import gradient_alignment
from benchmark.diagnostics.sample import Sample
from benchmark.threat_models import ThreatModel


def alignment(
    model: nn.Module, points: LabelledPoints, threat_model: ThreatModel, *, seed: int = 0, width: int = 64
) -> Alignment:
    """Measure the cosine between the loss gradients at points and at random points of the ball around them.

    It is the number that every check run tests a model by, see `benchmark.diagnostics.alignment`, on the first points
    that are classified correctly.

    Args:
        model: from images (n, c, h, w) in [0, 1] to logits (n, classes), in eval mode and frozen.
        points: clean points and labels.
        threat_model: norm and budget of the ball.
        seed: of the draws.
        width: rows of a batch.
    Raises:
        EvaluationFailed: the model failed.
        LeftOut: it classifies none of the points correctly.
    Source:
        Andriushchenko & Flammarion 2020, arXiv:2007.02617, section 4.1. Differs: at most 64 points, eight draws each.
    """
    sample = Sample.of(
        model, points.x, points.y, points.index, threat_model, seed=seed, width=width, device=points.x.device
    )
    if not len(sample):
        raise LeftOut("none of the points is classified correctly")
    numbers = gradient_alignment(sample).numbers
    return Alignment(
        points=int(numbers["points"]),
        draws=int(numbers["draws"]),
        mean=numbers["mean"],
        quantile_10=numbers["quantile_10"],
        median=numbers["median"],
        quantile_90=numbers["quantile_90"],
        zero_gradients=numbers["zero_gradients"],
    )
