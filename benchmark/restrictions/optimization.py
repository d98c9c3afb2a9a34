"""No optimisation loop at inference."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.autograd.variable import Variable

from benchmark import rules
from benchmark.graph import Breach
from benchmark.report import Check
from benchmark.restrictions.flow import Flow, named
from benchmark.restrictions.subject import Restriction, Subject, graded

_REMEDY = "Submit a feed-forward classifier; test-time optimisation is outside this benchmark."


class _CountingEngine:
    """Stands in front of autograd's engine and counts how often it runs."""

    def __init__(self, engine: Any) -> None:
        self.original = engine
        self.runs = 0

    def run_backward(self, *args: Any, **kwargs: Any) -> Any:
        self.runs += 1
        return self.original.run_backward(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.original, name)


@contextmanager
def _counted_backwards() -> Iterator[_CountingEngine]:
    # Every public way to a gradient, torch.func's included, ends in this one engine.
    engine = _CountingEngine(Variable._execution_engine)
    Variable._execution_engine = engine  # type: ignore[assignment]
    try:
        yield engine
    finally:
        Variable._execution_engine = engine.original


def _on_model(subject: Subject) -> Check:
    """Reject a forward pass that computes gradients of its own."""
    with _counted_backwards() as engine:
        # Both ways: a model may well behave while gradients are recorded, and optimise while they are not.
        subject.answer()
        subject.recorded_answer()
    message = f"Two forward passes ran automatic differentiation {engine.runs} times."
    return graded(RESTRICTION.code, message, float(engine.runs), reject_from=1, remedy=_REMEDY)


def _on_graph(flow: Flow) -> Check:
    """Reject operations that compute gradients, and loops whose number of rounds depends on values."""
    kinds = {Breach.GRADIENTS, Breach.LOOPS}
    found = [operation for operation in flow.graph.operations if operation.breach in kinds]
    message = f"{len(found)} operations compute gradients or loop{': ' + named(found) if found else ''}."
    return graded(RESTRICTION.graph_code, message, float(len(found)), reject_from=1, remedy=_REMEDY)


RESTRICTION = Restriction(rules.OPTIMIZATION_AT_INFERENCE, _on_model, _on_graph)
