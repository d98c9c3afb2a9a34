"""The analyses of one model on one data set, and of several models together."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from benchmark.analysis.calibration import Calibration, calibration
from benchmark.analysis.fairness import PROTOCOL, Fairness, fairness
from benchmark.analysis.privacy import Membership, membership
from benchmark.analysis.smoothness import POINTS, local_lipschitz
from benchmark.classifier import Classifier, check_points, frozen
from benchmark.datasets import LabelledPoints
from benchmark.pipeline import evaluate
from benchmark.report import Accuracy, Count, EvaluationReport, Name, Part
from benchmark.threat_models import ThreatModel

SMOOTHNESS_EPSILON = 8 / 255
"""Whatever the board's budget, so that smoothness can be compared across boards."""
_WIDTH = 64

Ratio = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Analysis(StrEnum):
    """What can be looked at of one model."""

    CALIBRATION = "calibration"
    FAIRNESS = "fairness"
    PRIVACY = "privacy"
    SMOOTHNESS = "smoothness"


class Privacy(Part):
    """How well membership in the training data can be inferred."""

    benign: Membership
    adversarial: Membership
    """On what the attack of `benchmark.analysis.fairness` makes of the same points; where it breaks nothing, on the
    points as they are."""


class Smoothness(Part):
    """Means of the greatest ratios found around the first points of the test split."""

    points: Count
    epsilon: Ratio
    lipschitz: Ratio
    """Of the logits."""
    angular_lipschitz: Ratio
    """Of their direction alone."""


class Study(Part):
    """The analyses of one model; None for those that were not asked for."""

    dataset: Name | None
    norm: Name
    epsilon: Name
    points: Count
    seed: int
    standard_accuracy: Accuracy
    calibration: Calibration | None = None
    fairness: Fairness | None = None
    privacy: Privacy | None = None
    smoothness: Smoothness | None = None
    seconds: dict[Name, Ratio]
    """Wall time of each analysis."""


def study(
    model: nn.Module,
    test: LabelledPoints,
    train: LabelledPoints | None,
    threat_model: ThreatModel,
    *,
    analyses: Collection[Analysis] = tuple(Analysis),
    seed: int = 0,
) -> Study:
    """Run the analyses of one model.

    Args:
        model: from images (n, c, h, w) in [0, 1] to logits (n, classes); left as it was.
        test: points that it was not trained on.
        train: as many points that it was trained on; None where privacy is not asked for.
        threat_model: norm and budget of the attacks.
        analyses: which ones.
        seed: of all draws.
    Raises:
        InvalidInput: the points cannot be used.
        EvaluationFailed: the model failed.
    """
    check_points(test.x, test.y)
    seconds: dict[str, float] = {}

    @contextmanager
    def timed(analysis: Analysis) -> Iterator[None]:
        began = time.perf_counter()
        yield
        seconds[analysis] = time.perf_counter() - began

    with frozen(model):
        logits = _logits(model, test.x)
    found: dict[str, object] = {}
    if Analysis.CALIBRATION in analyses:
        with timed(Analysis.CALIBRATION):
            found["calibration"] = calibration(logits, test.y)
    x_adv = test.x
    if {Analysis.FAIRNESS, Analysis.PRIVACY} & set(analyses):
        with timed(Analysis.FAIRNESS):
            report, x_adv = _attacked(model, test, threat_model, seed)
        if Analysis.FAIRNESS in analyses:
            found["fairness"] = fairness(report)
    if Analysis.PRIVACY in analyses and train is not None:
        with timed(Analysis.PRIVACY):
            found["privacy"] = _privacy(model, train, test, x_adv, threat_model, seed)
    if Analysis.SMOOTHNESS in analyses:
        with timed(Analysis.SMOOTHNESS), frozen(model):
            found["smoothness"] = _smoothness(model, test.x[:POINTS], seed)
    return Study.model_validate(
        {
            "dataset": threat_model.dataset,
            "norm": threat_model.norm,
            "epsilon": str(threat_model.epsilon),
            "points": len(test.y),
            "seed": seed,
            "standard_accuracy": float((logits.argmax(1) == test.y).double().mean()),
            "seconds": seconds,
            **found,
        }
    )


def _logits(model: nn.Module, x: Tensor) -> Tensor:
    shape = (x.shape[1], x.shape[2], x.shape[3])
    return Classifier(model, shape, _WIDTH).logits_of_all(x.flatten(1))


def _attacked(
    model: nn.Module, points: LabelledPoints, threat_model: ThreatModel, seed: int
) -> tuple[EvaluationReport, Tensor]:
    evaluation = evaluate(model, points.x, points.y, threat_model, protocol=PROTOCOL, seed=seed, diagnostics=False)
    return evaluation.report, evaluation.x_adv


def _privacy(
    model: nn.Module, train: LabelledPoints, test: LabelledPoints, x_adv: Tensor, threat_model: ThreatModel, seed: int
) -> Privacy:
    _, of_members = _attacked(model, train, threat_model, seed)
    with frozen(model):
        pairs = [(_logits(model, a), _logits(model, b)) for a, b in ((train.x, test.x), (of_members, x_adv))]
    benign, adversarial = (membership(members, others, train.y, test.y) for members, others in pairs)
    return Privacy(benign=benign, adversarial=adversarial)


def _smoothness(model: nn.Module, x: Tensor, seed: int) -> Smoothness:
    plain, angular = (
        torch.cat(
            [
                local_lipschitz(
                    model, rows, SMOOTHNESS_EPSILON, angular=angular, seed=seed,
                    index=torch.arange(first, first + len(rows)),
                )
                for first, rows in zip(range(0, len(x), _WIDTH), x.split(_WIDTH), strict=True)
            ]
        )
        for angular in (False, True)
    )  # fmt: skip
    return Smoothness(
        points=len(x),
        epsilon=SMOOTHNESS_EPSILON,
        lipschitz=float(plain.double().mean()),
        angular_lipschitz=float(angular.double().mean()),
    )
