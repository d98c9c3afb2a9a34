"""Logits are wanted, not probabilities: on those, losses lose their gradients."""

from __future__ import annotations

import re
from collections.abc import Iterator

from torch import Tensor

from benchmark import rules
from benchmark.graph import Operation
from benchmark.report import Check, CheckOutcome
from benchmark.restrictions.flow import Flow
from benchmark.restrictions.subject import Restriction, Subject, graded

TOLERANCE = 1e-5
_SOFTMAX = re.compile(r"aten\._?softmax\.\w+")
_PASSES_ON = re.compile(
    r"aten\.(add|div|mul|mean|sum|stack|cat|view|reshape|squeeze|unsqueeze|alias|clone|contiguous|to|_to_copy|select|"
    r"slice|flatten|clamp)_?\.\w+"
)
"""What averages probabilities or leaves them as they are."""
_REMEDY = "Return the logits from before the softmax."


def distance_from_probabilities(logits: Tensor) -> float:
    """Return how far answers, (n, classes), are at most from being probabilities."""
    return max(
        (-logits).clamp_min(0).max().item(),
        (logits - 1).clamp_min(0).max().item(),
        (logits.sum(1) - 1).abs().max().item(),
    )


def _on_model(subject: Subject) -> Check:
    """Flag answers that are probabilities."""
    distance = distance_from_probabilities(subject.clean_logits)
    if distance > TOLERANCE:
        return Check(
            code=RESTRICTION.code,
            outcome=CheckOutcome.PASSED,
            value=distance,
            threshold=TOLERANCE,
            message=f"The answers are no probabilities: the farthest is {distance:.2g} away from being one.",
        )
    return Check(
        code=RESTRICTION.code,
        outcome=CheckOutcome.FLAGGED,
        value=distance,
        threshold=TOLERANCE,
        message="Every answer is a probability distribution, so gradients of the losses may vanish.",
        remedy=_REMEDY,
    )


def _on_graph(flow: Flow) -> Check:
    """Flag a graph that ends with a softmax, or with a mean of several."""
    count = sum(1 for _ in _final_softmaxes(flow))
    message = f"The logits come out of {count} softmax operations without a layer after them."
    return graded(RESTRICTION.graph_code, message, float(count), flag_from=1, remedy=_REMEDY)


def _final_softmaxes(flow: Flow) -> Iterator[Operation]:
    wanted, seen = [flow.graph.output], set[str]()
    while wanted:
        name = wanted.pop()
        giver = flow.giver_of(name)
        if giver is None or name in seen:
            continue
        seen.add(name)
        if _SOFTMAX.fullmatch(giver.target):
            yield giver
        elif _PASSES_ON.fullmatch(giver.target):
            wanted += [read for read in giver.reads() if read in flow.of_images]


RESTRICTION = Restriction(rules.SOFTMAX_OUTPUT, _on_model, _on_graph)
