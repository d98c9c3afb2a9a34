"""A gradient must be that of the function: what it promises, a small step must bring."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmark import losses, rules
from benchmark.report import Check
from benchmark.restrictions.flow import Flow, detaches, named, rounds
from benchmark.restrictions.subject import Restriction, Subject, graded, not_assessed

_DISAGREES_FROM = 0.5
"""Difference of the two slopes, relative to the steeper one, from which on they disagree on a point."""
_REJECT_FROM = 0.5
_FLAG_FROM = 0.2
_INWARDS = 0.02
"""How far images are drawn towards mid-grey: where a model clips its input, the slope at 0 and 1 has two values."""
_REMEDY = (
    "Let autograd differentiate what the forward pass computes: no straight-through estimators, no detached parts, no "
    "gradients of your own, no rounding."
)


@dataclass(frozen=True)
class _Step:
    """How the slope is measured.

    Args:
        dtype: element type of the passes.
        length: of the step, as the Euclidean distance for each image.
        noise: relative error of the margin in that type, with room to spare.
    """

    dtype: torch.dtype
    length: float
    noise: float


_FINE = _Step(torch.float64, 1e-5, 1e-13)
_COARSE = _Step(torch.float32, 1e-2, 1e-5)
"""For models that cannot be run in float64."""


def _on_model(subject: Subject) -> Check:
    """Reject a model whose margin does not change along its gradient as the gradient says, by central differences.

    Source:
        Athalye, Carlini & Wagner 2018, arXiv:1802.00420, section 3: shattered gradients are incorrect ones.
    """
    try:
        model: nn.Module = copy.deepcopy(subject.model).double()
        disagreement = _disagreement(model, subject, _FINE)
        precision = "float64"
    except Exception:  # noqa: BLE001 - a model need be neither copyable nor able to run in float64
        disagreement = _disagreement(subject.model, subject, _COARSE)
        precision = "float32"
    if len(disagreement) == 0:
        remedy = "See zero_gradient: there is hardly a gradient."
        return not_assessed(RESTRICTION.code, "no point has a slope that can be measured", remedy)
    share = float((disagreement > _DISAGREES_FROM).float().mean())
    message = f"On {share:.1%} of {len(disagreement)} points the margin does not change along the gradient as that says"
    message += f" (median difference {float(disagreement.median()):.2g} of the slope, in {precision})."
    return graded(RESTRICTION.code, message, share, flag_from=_FLAG_FROM, reject_from=_REJECT_FROM, remedy=_REMEDY)


def _disagreement(model: nn.Module, subject: Subject, step: _Step) -> Tensor:
    """Return the relative difference of measured and promised slope, for each point where either can be told, (k,)."""

    def margin(x: Tensor) -> Tensor:
        return losses.margin(torch.as_tensor(model(x.clone())), subject.y)

    x = (subject.x * (1 - _INWARDS) + _INWARDS / 2).to(step.dtype)
    with torch.enable_grad():
        leaf = x.clone().requires_grad_()
        value = margin(leaf)
        grad = torch.autograd.grad(value.sum(), leaf, allow_unused=True)[0] if value.requires_grad else None
    if grad is None:
        return x.new_zeros(0)
    promised = torch.linalg.vector_norm(grad.flatten(1), dim=1)
    direction = grad / promised.clamp_min(torch.finfo(step.dtype).tiny).view(-1, 1, 1, 1)
    with torch.no_grad():
        ahead, behind = (margin(x + sign * step.length * direction) for sign in (1, -1))
    measured = (ahead - behind) / (2 * step.length)
    steeper = torch.maximum(measured.abs(), promised)
    told = steeper * step.length > step.noise * (1 + value.detach().abs())
    disagreement: Tensor = (measured - promised).abs() / steeper
    return disagreement[told & torch.isfinite(steeper)].cpu()


def _on_graph(flow: Flow) -> Check:
    """Reject rounding together with detached values, the straight-through estimator; flag either alone."""
    rounded = [operation for operation in flow.reading_images() if rounds(operation)]
    detached = [operation for operation in flow.reading_images() if detaches(operation)]
    value = float(bool(rounded)) + float(bool(detached))
    message = f"{len(rounded)} operations round what comes of the images{': ' + named(rounded) if rounded else ''}; "
    message += f"{len(detached)} cut it off from its gradient."
    return graded(RESTRICTION.graph_code, message, value, flag_from=1, reject_from=2, remedy=_REMEDY)


RESTRICTION = Restriction(rules.SHATTERED_GRADIENT, _on_model, _on_graph)
