"""A classifier must not have seen the test set, let alone carry it along."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import torch
from torch import Tensor

from benchmark import losses, rules
from benchmark.report import Check
from benchmark.restrictions.flow import Flow, named, weighs
from benchmark.restrictions.subject import Restriction, Subject, graded, not_assessed

_POINTS = 1_000
_TELLS_FROM = 0.65
"""Chance of telling a test image from one of the twin set, by the margin, from which on the model is flagged. Honest
models lie within 0.07 of one half: the twin set of the digits has 200 points."""
_BETRAYS_FROM = 0.8
_FALLS_FROM = 0.5
_SIDE = 16
"""Pixels from which on an honest classifier hardly minds a shift by one."""
_REMEDY = "Train on the training split alone, and submit a model that computes its answer from what it has learnt."
_SAME = 0.999
"""Correlation from which on a row of parameters is an image, whatever its brightness and contrast."""
_FEW_IMAGES = 3
_MANY_ROWS = 100
_CHOOSES = re.compile(r"aten\.(argmin|argmax|topk|min|max|amin|amax|sort|argsort|softmax|eq|all)\.\w+")


def _on_model(subject: Subject) -> Check:
    """Reject a model that tells the test points from others of the same kind by its margins.

    Where there are no others, one that falls when the test images are shifted by a pixel or mirrored.
    """
    x, y = subject.all_x[:_POINTS], subject.all_y[:_POINTS]
    margins = losses.margin(subject.logits_of_all(x), y)
    if subject.twin is None:
        return _by_shifts(subject, x, y, margins)
    others = losses.margin(subject.logits_of_all(subject.twin[0]), subject.twin[1])
    tells = _chance_of_telling(margins, others)
    accuracy, twins = ((values > 0).float().mean().item() for values in (margins, others))
    message = f"Accuracy is {accuracy:.4f} on {len(y)} test points and {twins:.4f} on {len(others)} others. "
    message += f"By the margin one of each is told apart with chance {tells:.3f}; guessing has one half."
    value = max(tells, float(_improbable(margins, others)))
    return graded(RESTRICTION.code, message, value, flag_from=_TELLS_FROM, reject_from=_BETRAYS_FROM, remedy=_REMEDY)


def _chance_of_telling(margins: Tensor, others: Tensor) -> float:
    """Return the chance that a test point has the greater margin of the two: the area under the curve of the test."""
    difference = margins[:, None].double() - others[None].double()
    return float((torch.sign(difference.nan_to_num()) + 1).mean() / 2)


def _improbable(margins: Tensor, others: Tensor) -> bool:
    """Tell whether a difference of accuracies as great as this one comes by chance less than once in a million times.

    Fisher's exact test, one-sided: the errors are drawn from all points alike.
    """
    wrong, missed = int((margins <= 0).sum()), int((others <= 0).sum())
    n, m = len(margins), len(others)
    ways = math.comb(n + m, wrong + missed)
    as_great = sum(math.comb(n, k) * math.comb(m, wrong + missed - k) for k in range(min(wrong, n) + 1))
    return as_great / ways < 1e-6


def _by_shifts(subject: Subject, x: Tensor, y: Tensor, margins: Tensor) -> Check:
    if min(x.shape[2:]) < _SIDE:
        remedy = "Nothing: this data set has neither held-out points nor images on which a shift by a pixel is small."
        return not_assessed(RESTRICTION.code, "there is nothing to compare the test points with", remedy)
    known = margins > 0
    if not bool(known.any()):
        return not_assessed(RESTRICTION.code, "no point is classified correctly", "Check the checkpoint.")
    x, y = x[known], y[known]
    shifted = [x.roll(by, axis) for axis in (2, 3) for by in (1, -1)]
    moved = {
        "shifted by a pixel": max(_accuracy(subject, images, y) for images in shifted),
        "mirrored": _accuracy(subject, x.flip(3), y),
    }
    best = max(moved, key=moved.__getitem__)
    fall = 1 - moved[best]
    message = f"Of {len(y)} points that are classified correctly, {moved[best]:.1%} still are when they are {best}."
    return graded(RESTRICTION.code, message, fall, flag_from=_FALLS_FROM, remedy=_REMEDY)


def _accuracy(subject: Subject, x: Tensor, y: Tensor) -> float:
    return float((subject.logits_of_all(x).argmax(1) == y).float().mean())


def _on_parameters(subject: Subject) -> Check:
    """Reject a model among whose parameters and buffers there are images of the test set, rescaled or not."""
    x = subject.all_x[:_POINTS]
    images = _standardised(x.flatten(1))
    found = torch.zeros(len(images), dtype=torch.bool)
    for rows in _rows_of_parameters(subject, images.shape[1]):
        for part in rows.split(4_096):
            found |= ((images @ _standardised(part).T).abs() > _SAME).any(1).cpu()
    count = int(found.sum())
    message = f"{count} of {len(images)} test images are among the model's parameters and buffers."
    return graded(STORED_IMAGES.code, message, float(count), flag_from=1, reject_from=_FEW_IMAGES, remedy=_REMEDY)


def _rows_of_parameters(subject: Subject, size: int) -> Iterator[Tensor]:
    """Yield parameters and buffers as rows that are as long as an image, wherever they can be read so."""
    device = subject.all_x.device
    for value in (*subject.model.parameters(), *subject.model.buffers()):
        if value.numel() < size or value.is_complex():
            continue
        values = value.detach().to(device, torch.float32)
        if value.numel() % size == 0:
            yield values.reshape(-1, size)
        if value.ndim == 2 and value.shape[0] == size:
            yield values.T


def _standardised(rows: Tensor) -> Tensor:
    """Return rows less their mean, scaled to length 1; those without contrast become 0."""
    centred = rows - rows.mean(1, keepdim=True)
    scaled: Tensor = centred / torch.linalg.vector_norm(centred, dim=1, keepdim=True).clamp_min(1e-6)
    return scaled.nan_to_num()


def _on_graph(flow: Flow) -> Check:
    """Flag pixel values that are compared with many stored rows as long as an image, other than by a layer."""
    size = math.prod(flow.graph.image_shape)
    found = [
        operation
        for operation in flow.reading_unweighted()
        if not weighs(operation)
        and any(
            constant.shape and constant.shape[0] >= _MANY_ROWS and math.prod(constant.shape[1:]) == size
            for constant in flow.constants_of(operation)
        )
    ]
    chosen = [operation for operation in flow.reading_images() if _CHOOSES.fullmatch(operation.target)] if found else []
    message = f"{len(found)} operations hold the images against stored rows of their size"
    message += f": {named(found)}, and then {named(chosen) or 'nothing'} chooses." if found else "."
    return graded(RESTRICTION.graph_code, message, float(len(found)), flag_from=1, remedy=_REMEDY)


RESTRICTION = Restriction(rules.TEST_SET_LOOKUP, _on_model, _on_graph)
STORED_IMAGES = Restriction(rules.STORED_TEST_IMAGES, _on_parameters)
