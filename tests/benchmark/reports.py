"""Reports made by hand, for the tests of what is read from them."""

from __future__ import annotations

from typing import Any

from benchmark.report import AttackOutcome, Check, CheckOutcome, EvaluationReport, Points, Provenance
from benchmark.summing_up import build_report

ATTACKS = ("apgd-ce", "apgd-t", "fab-t", "square")
VERDICTS = (None, "clean", *ATTACKS)
MIXED: list[str | None] = [None, "clean", "apgd-ce", None, "square", "apgd-t", None, "clean", "fab-t", None]


def outcome_of(name: str, attacked: int = 0, broken: int = 0, seconds: float = 1.5) -> AttackOutcome:
    return AttackOutcome(
        name=name,
        parameters={"iterations": 100, "rho": 0.75},
        seed=0,
        attacked=attacked,
        broken=broken,
        over_budget=1,
        robust_accuracy_after=0.0,
        forward_passes=attacked * 101,
        backward_passes=attacked * 101,
        seconds=seconds,
    )


def provenance_of(**changes: Any) -> Provenance:
    values: dict[str, Any] = {
        "seed": 0,
        "slot_width": 64,
        "threads": 1,
        "layout": "contiguous",
        "precision": "float32",
        "device": "cpu",
        "hardware": "a CPU",
        "versions": {"torch": "1"},
        "seconds": 6.0,
    }
    return Provenance(**(values | changes))


def points_of(verdicts: list[str | None], first: int = 0, classes: int = 3) -> Points:
    return Points(
        index=tuple(range(first, first + len(verdicts))),
        label=tuple((first + i) % classes for i in range(len(verdicts))),
        robust=tuple(by is None for by in verdicts),
        broken_by=tuple(verdicts),
        step=tuple(4 if by in ATTACKS else None for by in verdicts),
        distance=tuple(None if by is None else 0.0 if by == "clean" else 0.125 for by in verdicts),
    )


def report_of(
    verdicts: list[str | None],
    first: int = 0,
    *,
    classes: int = 3,
    protocol: str = "standard-1",
    examples_sha256: str | None = None,
    **changes: Any,
) -> EvaluationReport:
    """A report with these verdicts; ``changes`` are those of its provenance."""
    left, outcomes = sum(by != "clean" for by in verdicts), []
    for name in ATTACKS:
        broken = verdicts.count(name)
        outcomes.append(outcome_of(name, left, broken))
        left -= broken
    return build_report(
        norm="Linf",
        epsilon="8/255",
        dataset="digits",
        protocol=protocol,
        attacks=outcomes,
        checks=[Check(code="randomized", outcome=CheckOutcome.PASSED, message="Steady.")],
        provenance=provenance_of(**changes),
        points=points_of(verdicts, first, classes),
        examples_sha256=examples_sha256,
    )
