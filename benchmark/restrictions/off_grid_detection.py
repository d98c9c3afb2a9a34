"""A classifier must not tell images of a file from those that an attack has moved off the grid of its values."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark import randomness, rules
from benchmark.report import Check
from benchmark.restrictions.flow import Flow, named, rounds
from benchmark.restrictions.subject import Restriction, Subject, graded

_FLAG_FROM = 0.05
_REJECT_FROM = 0.15
_TINY = 1e-3
"""Length of a step that nobody can see, as a share of the budget."""
_LEVELS = 255
_SEED = 20201109
_REMEDY = "Do not test or round the pixel values: the logits must change little where an image changes little."


def _on_model(subject: Subject) -> Check:
    """Reject logits that jump between images which hardly differ.

    The pairs lie on and off the grid of 8-bit values, and at and near the corners of the budget's ball. A jump is
    measured in the distance between the logits of different images.
    """
    spread = subject.spread
    corner = _moved(subject, subject.x, subject.threat_model.radius, 0)
    pairs = {
        "an image and one next to it": (subject.x, _moved(subject, subject.x, subject.threat_model.radius * _TINY, 1)),
        "a corner of the ball and a point next to it": (corner, torch.lerp(corner, subject.x, _TINY)),
        "a corner of the ball and its value in 8 bits": (corner, (corner * _LEVELS).round() / _LEVELS),
    }
    jumps = {
        name: float((subject.logits(one) - subject.logits(other)).norm(dim=1).nan_to_num(nan=spread).mean()) / spread
        for name, (one, other) in pairs.items()
    }
    widest = max(jumps, key=jumps.__getitem__)
    message = f"Between {widest} the logits jump by {jumps[widest]:.2g} of the distance between different images."
    return graded(
        RESTRICTION.code, message, jumps[widest], flag_from=_FLAG_FROM, reject_from=_REJECT_FROM, remedy=_REMEDY
    )


def _moved(subject: Subject, x: Tensor, length: float, draw: int) -> Tensor:
    """Move every image by that length in a direction of its own, and keep it in the box."""
    flat = x.flatten(1)
    key = randomness.item_keys(_SEED, "off-grid", 0, draw, torch.arange(len(flat))).to(x.device)
    direction = randomness.signs(randomness.uniform(key, flat.shape[1]))
    step = length * direction / subject.norm.distance(direction)[:, None]
    return (flat + step).clamp(0, 1).view_as(x)


def _on_graph(flow: Flow) -> Check:
    """Flag rounding of values that no layer has touched yet."""
    found = [operation for operation in flow.reading_unweighted() if rounds(operation)]
    message = f"{len(found)} operations round pixel values before any layer{': ' + named(found) if found else ''}."
    return graded(RESTRICTION.graph_code, message, float(len(found)), flag_from=1, remedy=_REMEDY)


RESTRICTION = Restriction(rules.OFF_GRID_DETECTION, _on_model, _on_graph)
