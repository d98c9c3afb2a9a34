"""What a model answers must not depend on what it was asked before."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark import rules
from benchmark.report import Check
from benchmark.restrictions.flow import Flow
from benchmark.restrictions.subject import Restriction, Subject, graded

_PASSES = 12
"""Other batches between the two times that the first one is asked for."""
_REJECT_FROM = 1e-4
_REMEDY = "Compute the logits from the images and fixed parameters alone: no counters, no running statistics, no cache."


def _on_model(subject: Subject) -> Check:
    """Reject parameters or buffers that a pass changes, and logits that have moved after passes of other batches."""
    before = _state(subject)
    first = subject.logits()
    for number in range(_PASSES):
        batch = subject.x.roll(number, 0)[: len(subject.x) - number % 3]
        batch = 1 - batch if number % 2 else batch
        if number % 4 == 3:
            subject.gradient(lambda logits: logits.logsumexp(1), batch)
        else:
            subject.logits(batch)
    again = subject.logits()
    moved = float((again - first).norm() / (first.norm() + 1e-10))
    changed = sum(not torch.equal(old, new) for old, new in zip(before, _state(subject), strict=True))
    message = f"After {_PASSES} passes of other batches the first one's logits differ by {moved:.2g} of their length"
    message += f", and {changed} parameters or buffers have changed." if changed else "; nothing in it has changed."
    value = max(moved, float(changed > 0))
    return graded(RESTRICTION.code, message, value, reject_from=_REJECT_FROM, remedy=_REMEDY)


def _state(subject: Subject) -> list[Tensor]:
    return [value.detach().clone() for value in (*subject.model.parameters(), *subject.model.buffers())]


def _on_graph(flow: Flow) -> Check:
    """Reject a graph that changes its parameters or buffers."""
    written = flow.graph.written
    message = f"A call changes {len(written)} parameters or buffers{': ' + ', '.join(written[:5]) if written else ''}."
    return graded(RESTRICTION.graph_code, message, float(len(written)), reject_from=1, remedy=_REMEDY)


RESTRICTION = Restriction(rules.STATEFUL, _on_model, _on_graph)
