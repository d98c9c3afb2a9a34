"""Losses that attacks maximise: functions from (logits, y[, target]) to one number per point."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

LossName = Literal["ce", "dlr", "targeted-dlr"]

_TINY = 1e-12


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Return the cross-entropy on the label, (n,); logits are (n, classes)."""
    return functional.cross_entropy(logits, y, reduction="none")


def dlr(logits: Tensor, y: Tensor) -> Tensor:
    """Return the difference of logits ratio, (n,); needs 3 classes.

    Source:
        Croce & Hein 2020, arXiv:2003.01690, equation 6.
    """
    largest = logits.topk(3, dim=1).values
    return -margin(logits, y) / (largest[:, 0] - largest[:, 2] + _TINY)


def targeted_dlr(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """Return the targeted difference of logits ratio, (n,); needs 4 classes.

    Source:
        Croce & Hein 2020, arXiv:2003.01690, equation 7.
    """
    place = logits.detach().topk(4, dim=1).indices
    wanted, label, first, _, third, fourth = _pick(logits, target[:, None], y[:, None], place)
    return (wanted - label) / (first - (third + fourth) / 2 + _TINY)


def logit_gap(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """Return target logit minus label logit, (n,): above 0 the target wins."""
    wanted, label = _pick(logits, target[:, None], y[:, None])
    return wanted - label


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """Return label logit minus the largest other logit, (n,): below 0 the point is misclassified."""
    others = logits.scatter(1, y[:, None], -torch.inf)
    return logits.gather(1, y[:, None]).squeeze(1) - others.amax(1)


Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From (logits, y, target) to one number per point; an untargeted loss does not look at the target."""

LOSSES: Mapping[LossName, Loss] = {
    "ce": lambda logits, y, _: cross_entropy(logits, y),
    "dlr": lambda logits, y, _: dlr(logits, y),
    "targeted-dlr": targeted_dlr,
}
"""What APGD climbs, by the name that reports bear."""


def _pick(logits: Tensor, *places: Tensor) -> tuple[Tensor, ...]:
    """Return the logits at some places, (n, k) each, column by column, (n,); differentiated as one operation."""
    return logits.gather(1, torch.cat(places, 1)).unbind(1)
