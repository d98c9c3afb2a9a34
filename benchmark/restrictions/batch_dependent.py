"""What a model answers for an image must not depend on the images beside it."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark import rules
from benchmark.report import Check
from benchmark.restrictions.batch_axis import mixing
from benchmark.restrictions.flow import Flow, named
from benchmark.restrictions.subject import Restriction, Subject, graded

_BATCH = 8
_REJECT_FROM = 1e-3
"""Arithmetic itself depends on the size of the batch: by about 1e-6 of the logits' length."""
_REMEDY = (
    "Compute each image's logits from that image alone: no statistics of the batch, such as batch normalisation in "
    "training mode, and no sorting or shifting along the batch."
)


def _on_model(subject: Subject) -> Check:
    """Reject logits that change when an image is alone or its batch permuted, and gradients that cross images."""
    x = subject.x[:_BATCH]
    together = subject.logits(x)
    order = torch.arange(len(x) - 1, -1, -1, device=x.device)
    answers = {
        "alone": torch.cat([subject.logits(row) for row in x.split(1)]),
        "beside copies of itself": torch.cat([subject.logits(row.expand_as(x).contiguous())[:1] for row in x.split(1)]),
        "in another order": subject.logits(x[order])[order],
    }
    moved = {name: _distance(answer, together) for name, answer in answers.items()}
    worst = max(moved, key=moved.__getitem__)
    crossing = _crossing_gradient(subject, x)
    value = max(moved[worst], crossing)
    message = f"The logits of an image differ by {moved[worst]:.2g} of their length when it is {worst}; "
    message += f"{crossing:.1%} of the others' pixels have a part in them, by the gradient."
    return graded(RESTRICTION.code, message, value, reject_from=_REJECT_FROM, remedy=_REMEDY)


def _distance(answer: Tensor, together: Tensor) -> float:
    scale = together.norm(dim=1).mean() + 1e-10
    return float(((answer - together).norm(dim=1) / scale).nan_to_num(nan=1.0).max())


def _crossing_gradient(subject: Subject, x: Tensor) -> float:
    """Return the share of other images' pixels that move the first image's logits."""
    grad = subject.gradient(lambda logits: logits[:1] * torch.arange(1, logits.shape[1] + 1, device=logits.device), x)
    return 0.0 if grad is None or len(x) < 2 else float((grad[1:] != 0).float().mean())


def _on_graph(flow: Flow) -> Check:
    """Reject operations along the batch: reductions, sorting, shifting, and batch normalisation as in training."""
    found = list(mixing(flow))
    message = f"{len(found)} operations bring the images of a batch together{': ' + named(found) if found else ''}."
    return graded(RESTRICTION.graph_code, message, float(len(found)), reject_from=1, remedy=_REMEDY)


RESTRICTION = Restriction(rules.BATCH_DEPENDENT, _on_model, _on_graph)
