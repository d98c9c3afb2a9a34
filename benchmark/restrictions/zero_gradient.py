"""Attacks that follow gradients need gradients."""

from __future__ import annotations

import torch

from benchmark import losses, rules
from benchmark.report import Check
from benchmark.restrictions.flow import Flow, named
from benchmark.restrictions.subject import Restriction, Subject, graded

_REJECT_FROM = 0.5
_FLAG_FROM = 0.2
_REMEDY = "Remove operations without gradient, such as rounding or argmax, and check the weights."


def _on_model(subject: Subject) -> Check:
    """Reject a model whose margin has an input gradient of exactly zero on most points.

    Honest certified networks show a few such points, from dead units, so that a fraction counts and not any one point.
    """
    grad = subject.gradient(lambda logits: losses.margin(logits, subject.y))
    usable = torch.zeros(len(subject.x), dtype=torch.bool)
    if grad is not None:
        usable = (grad.cpu() != 0).flatten(1).any(1)
    fraction = 1 - usable.float().mean().item()
    message = f"{fraction:.1%} of the points have an input gradient of exactly zero."
    return graded(RESTRICTION.code, message, fraction, flag_from=_FLAG_FROM, reject_from=_REJECT_FROM, remedy=_REMEDY)


def _on_graph(flow: Flow) -> Check:
    """Reject a graph in which no way leads from the logits back to the images by operations with gradients."""
    if flow.graph.output in flow.differentiable:
        return graded(
            RESTRICTION.graph_code, "A gradient finds its way to the images.", 0.0, reject_from=1, remedy=_REMEDY
        )
    cuts = [
        operation
        for operation in flow.reading_images()
        if any(name in flow.differentiable for name in operation.reads())
        and not any(name in flow.differentiable for name in operation.outputs)
    ]
    by = f", cut by {named(cuts)}" if cuts else ""
    message = f"No gradient finds its way from the logits to the images{by}."
    return graded(RESTRICTION.graph_code, message, 1.0, reject_from=1, remedy=_REMEDY)


RESTRICTION = Restriction(rules.ZERO_GRADIENT, _on_model, _on_graph)
