"""Attacks that follow gradients need gradients."""

from __future__ import annotations

import torch

from benchmark import losses
from benchmark.report import Check, CheckOutcome
from benchmark.restrictions.subject import Subject, passed

_REJECT_FROM = 0.5
_FLAG_FROM = 0.2


def zero_gradient(subject: Subject) -> Check:
    """Reject a model whose margin has an input gradient of exactly zero on most points.

    Honest certified networks show a few such points, from dead units, so that a fraction counts and not any one point.
    """
    with torch.enable_grad():
        leaf = subject.x.detach().clone().requires_grad_()
        logits = torch.as_tensor(subject.model(leaf.clone())).float()
        margin = losses.margin(logits, subject.y)
        grad = None
        if margin.requires_grad:
            (grad,) = torch.autograd.grad(margin.sum(), leaf, allow_unused=True)
    usable = torch.zeros(len(subject.x), dtype=torch.bool)
    if grad is not None:
        usable = (torch.nan_to_num(grad.cpu()) != 0).flatten(1).any(1)
    fraction = 1 - usable.float().mean().item()
    message = f"{fraction:.1%} of the points have an input gradient of exactly zero."
    if fraction < _FLAG_FROM:
        return passed("zero_gradient", message, fraction, _FLAG_FROM)
    rejected = fraction >= _REJECT_FROM
    return Check(
        code="zero_gradient",
        outcome=CheckOutcome.REJECTED if rejected else CheckOutcome.FLAGGED,
        value=fraction,
        threshold=_REJECT_FROM if rejected else _FLAG_FROM,
        message=message,
        remedy="Remove operations without gradient, such as rounding or argmax, and check the weights.",
    )
