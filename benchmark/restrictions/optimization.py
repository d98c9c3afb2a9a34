"""No optimisation loop at inference."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.autograd.variable import Variable

from benchmark.report import Check, CheckOutcome
from benchmark.restrictions.subject import Subject, passed


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


def optimization_at_inference(subject: Subject) -> Check:
    """Reject a forward pass that computes gradients of its own."""
    code = "optimization_at_inference"
    with _counted_backwards() as engine:
        # Both ways: a model may well behave while gradients are recorded, and optimise while they are not.
        subject.answer()
        subject.recorded_answer()
    if engine.runs == 0:
        return passed(code, "The forward pass computes no gradients.", 0.0, 0.0)
    return Check(
        code=code,
        outcome=CheckOutcome.REJECTED,
        value=float(engine.runs),
        threshold=0.0,
        message=f"Two forward passes ran automatic differentiation {engine.runs} times.",
        remedy="Submit a feed-forward classifier; test-time optimisation is outside this benchmark.",
    )
