"""The answer must be one finite row of logits for each image."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark import randomness, rules
from benchmark.report import Check, CheckOutcome
from benchmark.restrictions.subject import Restriction, Subject, graded

_SEED = 20200303


def _shape(subject: Subject) -> Check:
    """Reject a model that fails on an image batch or does not answer (n, classes) floating-point numbers."""
    code = SHAPE.code
    remedy = "Return one row of floating-point logits for each image, as wide as the data set has classes."

    def rejected(message: str) -> Check:
        return Check(code=code, outcome=CheckOutcome.REJECTED, message=message, remedy=remedy)

    try:
        answer = subject.answer()
    except Exception as error:  # noqa: BLE001 - whatever a submitted model raises is a finding about it
        return rejected(f"The forward pass raised {type(error).__name__}: {str(error)[:300]}")
    n, least = len(subject.x), int(subject.y.max()) + 1
    if not isinstance(answer, Tensor):
        return rejected(f"Found {type(answer).__name__}, expected a tensor of logits.")
    if answer.ndim != 2 or len(answer) != n:
        return rejected(f"Found shape {tuple(answer.shape)}, expected ({n}, classes) for {n} images.")
    if not answer.is_floating_point():
        return rejected(f"Found {answer.dtype}, expected floating-point logits.")
    width = answer.shape[1]
    if width < 2 or width < least or (subject.classes is not None and width != subject.classes):
        return rejected(f"Found {width} logits, expected {subject.classes or f'at least {max(least, 2)}'}.")
    message = f"Answers with {width} logits for each image."
    return Check(code=code, outcome=CheckOutcome.PASSED, value=float(width), message=message)


def _finite(subject: Subject) -> Check:
    """Reject logits that are NaN or infinite, on clean images or on others of the box: NaN would win every argmax."""
    x = subject.x
    key = randomness.item_keys(_SEED, "finite", 0, 0, torch.arange(len(x))).to(x.device)
    noise = randomness.uniform(key, x[0].numel()).view_as(x)
    images = {
        "clean": x,
        "perturbed": (x + subject.threat_model.radius * (2 * noise - 1).sign()).clamp(0, 1),
        "random": noise,
        "black": torch.zeros_like(x),
        "white": torch.ones_like(x),
    }
    unusable = {name: (~torch.isfinite(subject.logits(rows))).any(1) for name, rows in images.items()}
    shares = {name: float(found.float().mean()) for name, found in unusable.items()}
    worst = max(shares, key=shares.__getitem__)
    message = f"{shares[worst]:.1%} of the {worst} images get logits that are NaN or infinite."
    if shares[worst] == 0:
        message = "All logits are finite, on clean, perturbed, random, black and white images."
    remedy = "Look for overflow, division by zero or unset weights in the checkpoint."
    return graded(FINITE.code, message, shares[worst], reject_from=1 / len(x), remedy=remedy)


SHAPE = Restriction(rules.OUTPUT_SHAPE, _shape)
FINITE = Restriction(rules.NON_FINITE_OUTPUT, _finite)
