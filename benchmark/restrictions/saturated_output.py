"""The cross-entropy must keep a gradient in float32, which logits too far apart take from it."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark import losses, rules
from benchmark.report import Check
from benchmark.restrictions.flow import Flow, first_reference, weighs
from benchmark.restrictions.subject import Restriction, Subject, graded, not_assessed

_VANISHES_BELOW = 1e-20
"""Size of the cross-entropy's gradient relative to the margin's: that of logits 46 apart."""
_FLAG_FROM = 0.2
_LARGEST_SCALE = 100.0
_REMEDY = (
    "Return the logits as they were trained, without a large factor and without a saturating function behind them."
)


def _on_model(subject: Subject) -> Check:
    """Flag a model on whose points the gradient of the cross-entropy vanishes where that of the margin does not."""
    steep = _lengths(subject.gradient(lambda logits: losses.margin(logits, subject.y)))
    soft = _lengths(subject.gradient(lambda logits: losses.cross_entropy(logits, subject.y)))
    has_slope = steep > 0
    if not bool(has_slope.any()):
        return not_assessed(RESTRICTION.code, "no point has a gradient", "See zero_gradient.")
    vanished = has_slope & (soft <= _VANISHES_BELOW * steep)
    share = float(vanished.sum() / has_slope.sum())
    message = f"On {share:.1%} of the points the gradient of the cross-entropy vanishes in float32."
    return graded(RESTRICTION.code, message, share, flag_from=_FLAG_FROM, remedy=_REMEDY)


def _lengths(grad: Tensor | None) -> Tensor:
    # In float64, for squares of small numbers are 0 in float32.
    return torch.zeros(1) if grad is None else torch.linalg.vector_norm(grad.double().flatten(1), dim=1).cpu()


def _on_graph(flow: Flow) -> Check:
    """Flag a graph that multiplies its logits by a large number after its last layer."""
    scale, name = 1.0, flow.graph.output
    while (giver := flow.giver_of(name)) is not None and not weighs(giver):
        number = giver.argument(1, "other")
        if isinstance(number, int | float) and number and giver.target.startswith("aten.mul"):
            scale *= abs(number)
        elif isinstance(number, int | float) and number and giver.target.startswith("aten.div"):
            scale /= abs(number)
        before = first_reference(giver)
        if before is None:
            break
        name = before
    message = f"After the last layer the logits are multiplied by {scale:.6g}."
    return graded(RESTRICTION.graph_code, message, scale, flag_from=_LARGEST_SCALE, remedy=_REMEDY)


RESTRICTION = Restriction(rules.SATURATED_OUTPUT, _on_model, _on_graph)
