"""The analyses of one model: what they have to go on, and the table of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType

import torch

from benchmark.analysis.alignment import alignment
from benchmark.analysis.calibration import calibration
from benchmark.analysis.curve import curve
from benchmark.analysis.distances import distances
from benchmark.analysis.fairness import fairness
from benchmark.analysis.material import LeftOut, Material
from benchmark.analysis.ood import out_of_distribution
from benchmark.analysis.privacy import membership
from benchmark.analysis.results import (
    Alignment,
    Analysis,
    Calibration,
    Curve,
    Distances,
    Fairness,
    Privacy,
    Sharpness,
    Smoothness,
    Study,
    Transferability,
)
from benchmark.analysis.sharpness import POINTS as SHARPNESS_POINTS
from benchmark.analysis.sharpness import sharpness
from benchmark.analysis.shift import shift
from benchmark.analysis.smoothness import POINTS, layer, local_lipschitz
from benchmark.analysis.transfer import transferability
from benchmark.classifier import check_points, frozen
from benchmark.errors import EvaluationFailed
from benchmark.report import Part

SMOOTHNESS_EPSILON = 8 / 255
"""Whatever the board's budget, so that smoothness can be compared across boards."""


def study(
    material: Material,
    analyses: Collection[Analysis] = tuple(Analysis),
    progress: Callable[[Analysis, int, int], None] | None = None,
) -> Study:
    """Make the analyses of one model.

    Args:
        material: the model, and what it is looked at by.
        analyses: which ones; one that cannot be made, for want of a data set or because the model fails at it, is left
            out with the reason.
        progress: told before each analysis how many are done, and of how many.
    Raises:
        InvalidInput: the points cannot be used, or there is no such layer.
        EvaluationFailed: the model failed.
    """
    check_points(material.test.x, material.test.y)
    wanted = [analysis for analysis in Analysis if analysis in analyses]
    found: dict[str, Part] = {}
    left_out: dict[Analysis, str] = {}
    seconds: dict[Analysis, float] = {}
    standard = float((material.logits.argmax(1) == material.test.y).double().mean())
    for done, analysis in enumerate(wanted):
        if progress is not None:
            progress(analysis, done, len(wanted))
        began = time.perf_counter()
        try:
            found[analysis] = TABLE[analysis](material)
        except LeftOut as why:
            left_out[analysis] = str(why)
        except EvaluationFailed as error:
            left_out[analysis] = f"the model failed: {error.message}"[:1_000]
        else:
            seconds[analysis] = time.perf_counter() - began
    return Study.model_validate(
        {
            "dataset": material.threat_model.dataset,
            "norm": material.threat_model.norm,
            "epsilon": str(material.threat_model.epsilon),
            "points": len(material.test.y),
            "seed": material.seed,
            "checkpoint_sha256": material.checkpoint_sha256,
            "standard_accuracy": standard,
            "left_out": left_out,
            "seconds": seconds,
            **found,
        }
    )


def _calibration(material: Material) -> Calibration:
    return calibration(material.logits, material.test.y)


def _fairness(material: Material) -> Fairness:
    return fairness(material.attacked.report)


def _privacy(material: Material) -> Privacy:
    test, train = material.test, material.train
    pairs = (train.x, test.x), (material.attack(train).x_adv, material.attacked.x_adv)
    benign, adversarial = (
        membership(material.logits_of(members), material.logits_of(others), train.y, test.y)
        for members, others in pairs
    )
    return Privacy(benign=benign, adversarial=adversarial)


def _smoothness(material: Material) -> Smoothness:
    x = material.test.x[:POINTS]
    function = material.model if material.layer is None else layer(material.model, material.layer)
    with frozen(material.model):
        plain, angular = (
            torch.cat(
                [
                    local_lipschitz(
                        function, rows, SMOOTHNESS_EPSILON, angular=angular, seed=material.seed,
                        index=torch.arange(first, first + len(rows), device=x.device),
                    )
                    for first, rows in zip(range(0, len(x), material.width), x.split(material.width), strict=True)
                ]
            )
            for angular in (False, True)
        )  # fmt: skip
    return Smoothness(
        points=len(x),
        epsilon=SMOOTHNESS_EPSILON,
        layer=material.layer,
        lipschitz=float(plain.double().mean()),
        angular_lipschitz=float(angular.double().mean()),
    )


def _transfer(material: Material) -> Transferability:
    if not material.others:
        raise LeftOut("there is no other model to carry examples over to")
    models = {material.name: material.model, **material.others}
    return transferability(
        models, material.test.x, material.test.y, material.threat_model, method=material.method, seed=material.seed
    )


def _curve(material: Material) -> Curve:
    test = material.test
    return curve(
        material.model, test.x, test.y, material.threat_model,
        index=test.index, seed=material.seed, width=material.width,
    )  # fmt: skip


def _distances(material: Material) -> Distances:
    test = material.test
    return distances(material.model, test.x, test.y, material.threat_model.norm, width=material.width)


def _alignment(material: Material) -> Alignment:
    with frozen(material.model):
        return alignment(material.model, material.test, material.threat_model, seed=material.seed, width=material.width)


def _sharpness(material: Material) -> Sharpness:
    try:
        points, split = material.load(material.dataset, "train", SHARPNESS_POINTS), "train"
    except LeftOut:
        points, split = material.test, "test"
    with frozen(material.model):
        return sharpness(material.model, points.x, points.y, split=split, seed=material.seed, width=material.width)


TABLE: Mapping[Analysis, Callable[[Material], Part]] = MappingProxyType(
    {
        Analysis.CALIBRATION: _calibration,
        Analysis.OOD: out_of_distribution,
        Analysis.FAIRNESS: _fairness,
        Analysis.PRIVACY: _privacy,
        Analysis.SMOOTHNESS: _smoothness,
        Analysis.SHIFT: shift,
        Analysis.TRANSFER: _transfer,
        Analysis.CURVE: _curve,
        Analysis.DISTANCES: _distances,
        Analysis.ALIGNMENT: _alignment,
        Analysis.SHARPNESS: _sharpness,
    }
)
"""How each analysis is made of the material."""
