"""A classifier must treat an image that is under attack like any other.

What neither graph nor model shows here, the whole evaluation does: its seeds are secret until it ends, and a second
attack, of a family that nobody knows beforehand, is run on a sample of what it has left.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark import losses, randomness, rules
from benchmark.graph import Breach
from benchmark.report import Check
from benchmark.restrictions.flow import Flow, compares, named
from benchmark.restrictions.subject import Restriction, Subject, graded

_JUMP = 0.1
"""Distance between two logits, relative to that between different images, that no continuous network covers at once."""
_FLAG_FROM, _REJECT_FROM = 0.05, 0.25
_HALVINGS = 13
"""They leave a ten-thousandth of the way; many more, and float32 could not tell its ends apart."""
_SEED = 20180201
_BRANCH = 1_000
_REMEDY = "Compute the logits of every image in the same way: no comparison of pixel values, no branches, no detectors."


def _on_model(subject: Subject) -> Check:
    """Reject a model whose logits jump somewhere on the way from an image to an attacked one.

    The way is halved again and again, and always the half is taken on which the logits change more: at last what a
    continuous network still changes is next to nothing, and the jump of a detector is still there.
    """
    widest = torch.stack([_widest_jump(subject, end) for end in _ends(subject)]).amax(0) / subject.spread
    share = float((widest > _JUMP).float().mean())
    message = f"On the way to an attacked image the logits of {share:.1%} of the points jump by more than {_JUMP} of "
    message += f"the distance between different images; the widest jump is {float(widest.max()):.2g}."
    return graded(RESTRICTION.code, message, share, flag_from=_FLAG_FROM, reject_from=_REJECT_FROM, remedy=_REMEDY)


def _ends(subject: Subject) -> list[Tensor]:
    """Return images as attacks make them: by a step along the gradient, and by noise, both as long as the budget."""
    x, norm, radius = subject.x.flatten(1), subject.norm, subject.threat_model.radius
    key = randomness.item_keys(_SEED, "detection", 0, 0, torch.arange(len(x))).to(x.device)
    ends = [(x + radius * norm.random_direction(key, x.shape[1])).clamp(0, 1)]
    grad = subject.gradient(lambda logits: losses.cross_entropy(logits, subject.y))
    if grad is not None:
        ends.append((x + radius * norm.steepest(grad.flatten(1))).clamp(0, 1))
    return [end.view_as(subject.x) for end in ends]


def _widest_jump(subject: Subject, end: Tensor) -> Tensor:
    """Return how far the logits of each image still change on the last piece of the way, (n,)."""
    low, high = subject.x, end
    at_low, at_high = subject.logits(low), subject.logits(high)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        at_middle = subject.logits(middle)
        later = ((at_high - at_middle).norm(dim=1) > (at_middle - at_low).norm(dim=1))[:, None]
        later_images = later[:, :, None, None]
        low, high = torch.where(later_images, middle, low), torch.where(later_images, high, middle)
        at_low, at_high = torch.where(later, at_middle, at_low), torch.where(later, at_high, at_middle)
    change: Tensor = (at_high - at_low).norm(dim=1).nan_to_num(nan=torch.inf)
    return change


def _on_graph(flow: Flow) -> Check:
    """Reject branches that depend on values; flag comparisons of values that no layer has touched yet."""
    branches = [operation for operation in flow.graph.operations if operation.breach is Breach.BRANCHES]
    comparisons = [operation for operation in flow.reading_unweighted() if compares(operation)]
    message = f"{len(branches)} branches depend on values; {len(comparisons)} operations compare pixel values before "
    message += f"any layer{': ' + named(comparisons) if comparisons else ''}."
    value = float(_BRANCH * len(branches) + len(comparisons))
    return graded(RESTRICTION.graph_code, message, value, flag_from=1, reject_from=_BRANCH, remedy=_REMEDY)


RESTRICTION = Restriction(rules.ATTACK_DETECTION, _on_model, _on_graph)
