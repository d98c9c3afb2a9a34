"""Transferability: what examples made on one model do to another."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from enum import StrEnum
from functools import partial

import torch
from torch import Tensor, nn

from benchmark import losses, randomness
from benchmark.analysis.results import Transferability
from benchmark.classifier import Classifier, check_points, frozen
from benchmark.errors import InvalidInput
from benchmark.judging import judge
from benchmark.norms import norm_named
from benchmark.threat_models import ThreatModel

STEPS = 10
_WIDTH = 64


class Method(StrEnum):
    """How examples are made on a source."""

    PGD = "pgd-10"
    """Ten steps of a quarter of the budget on the cross-entropy, from a random start on the surface of the ball."""
    FGSM = "fgsm"
    """One step of the whole budget on the cross-entropy, from the clean point."""


def transferability(
    models: Mapping[str, nn.Module],
    x: Tensor,
    y: Tensor,
    threat_model: ThreatModel,
    *,
    method: Method = Method.PGD,
    seed: int = 0,
    index: Tensor | None = None,
) -> Transferability:
    """Make examples on each model and judge them on all.

    The examples are those after the last step, whether an earlier one had broken the source or not.

    Args:
        models: by their names: from images (n, c, h, w) in [0, 1] to logits, all of the same classes.
        x: clean points, (n, c, h, w), float32 in [0, 1].
        y: labels, (n,), int64.
        threat_model: norm and budget.
        method: how examples are made.
        seed: of the random starts.
        index: positions of the points in the data set, (n,), int64, to which the draws belong; by default 0 to n - 1.
    Raises:
        InvalidInput: there is no model, or the points cannot be used.
        EvaluationFailed: a model failed.
    Source:
        Croce et al. 2021, arXiv:2010.09670, appendix: PGD with 10 steps of epsilon/4, and FGSM, source by target.
    """
    if not models:
        raise InvalidInput.because("models", found="none", expected="at least one", remedy="name the models to compare")
    check_points(x, y)
    norm, epsilon = norm_named(threat_model.norm), threat_model.radius
    places = torch.arange(len(x), device=x.device) if index is None else index
    key = randomness.item_keys(seed, method, 0, 0, places)
    flat, shape = x.flatten(1), (x.shape[1], x.shape[2], x.shape[3])
    with ExitStack() as stack:
        classifiers = [Classifier(stack.enter_context(frozen(model)), shape, _WIDTH) for model in models.values()]
        right = [classifier.logits_of_all(flat).argmax(1) == y for classifier in classifiers]
        rows = []
        for source in classifiers:
            x_adv = _examples(source, flat, y, threat_model, method, key)
            broken = [judge(target, flat, y, x_adv, norm, epsilon).broken for target in classifiers]
            rows.append(tuple(float((one & ~lost).double().mean()) for one, lost in zip(right, broken, strict=True)))
    return Transferability(method=method, points=len(x), names=tuple(models), robust=tuple(rows))


def _examples(
    source: Classifier, x: Tensor, y: Tensor, threat_model: ThreatModel, method: Method, key: Tensor
) -> Tensor:
    norm, epsilon = norm_named(threat_model.norm), threat_model.radius
    parts = []
    for first in range(0, len(x), source.width):
        rows = slice(first, first + source.width)
        clean, labels = x[rows], y[rows]
        if method is Method.FGSM:
            steps, size, x_adv = 1, epsilon, clean
        else:
            drawn = clean + epsilon * norm.random_direction(key[rows], clean.shape[1])
            steps, size, x_adv = STEPS, epsilon / 4, norm.confine(clean, drawn, epsilon)
        for _ in range(steps):
            grad = source.gradient(x_adv, partial(losses.cross_entropy, y=labels)).grad
            x_adv = norm.confine(clean, norm.climb(x_adv, grad, size), epsilon)
        parts.append(x_adv)
    return torch.cat(parts)
