"""The same images must get the same logits every time."""

from __future__ import annotations

import torch

from benchmark import rules
from benchmark.graph import Breach
from benchmark.report import Check, CheckOutcome
from benchmark.restrictions.flow import Flow, named
from benchmark.restrictions.subject import Restriction, Subject, graded

_REPEATS = 5
_THRESHOLD = 1e-4
_REMEDY = "Remove randomness at inference, such as noise or active dropout."


def _on_model(subject: Subject) -> Check:
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
    agree = spread <= _THRESHOLD and len(set(correct)) == 1
    message = f"The logits of one batch differ by {spread:.2g} of their length over {_REPEATS} passes."
    return Check(
        code=RESTRICTION.code,
        outcome=CheckOutcome.PASSED if agree else CheckOutcome.REJECTED,
        value=spread,
        threshold=_THRESHOLD,
        message=f"{_REPEATS} passes of one batch agree." if agree else message,
        remedy="" if agree else _REMEDY,
    )


def _on_graph(flow: Flow) -> Check:
    """Reject operations that draw random numbers, dropout as in training among them."""
    draws = [
        operation
        for operation in flow.graph.operations
        if operation.breach is Breach.DRAWS or (operation.trains and operation.target != "aten.batch_norm.default")
    ]
    message = f"{len(draws)} operations draw random numbers{': ' + named(draws) if draws else ''}."
    return graded(RESTRICTION.graph_code, message, float(len(draws)), reject_from=1, remedy=_REMEDY)


RESTRICTION = Restriction(rules.RANDOMIZED, _on_model, _on_graph)
