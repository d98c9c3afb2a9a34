"""The same images must get the same logits every time."""

from __future__ import annotations

import torch

from benchmark.report import Check, CheckOutcome
from benchmark.restrictions.subject import Subject, passed

_REPEATS = 5
_THRESHOLD = 1e-4


def randomized(subject: Subject) -> Check:
    """Reject logits that differ between five passes of one batch.

    Source:
        Croce & Hein 2020, arXiv:2003.01690; thresholds of the reference implementation.
    """
    passes = [subject.logits() for _ in range(_REPEATS - 1)]
    # The last as attacks with gradients see it, for a model can tell the two apart.
    passes.append(torch.as_tensor(subject.recorded_answer()).detach().float())
    answers = torch.stack(passes).flatten(1)
    scale = answers.norm(dim=1).min() + 1e-10
    spread = (torch.cdist(answers, answers, compute_mode="donot_use_mm_for_euclid_dist").max() / scale).item()
    correct = [(answer.view(len(subject.x), -1).argmax(1) == subject.y).sum().item() for answer in answers]
    if spread <= _THRESHOLD and len(set(correct)) == 1:
        return passed("randomized", f"{_REPEATS} passes of one batch agree.", spread, _THRESHOLD)
    return Check(
        code="randomized",
        outcome=CheckOutcome.REJECTED,
        value=spread,
        threshold=_THRESHOLD,
        message=f"The logits of one batch differ by {spread:.2g} of their length over {_REPEATS} passes.",
        remedy="Remove randomness at inference, such as noise or active dropout.",
    )
