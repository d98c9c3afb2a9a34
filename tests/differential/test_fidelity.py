"""The standard ensemble against the reference's code, as in docs/benchmarks/fidelity.md, on the bundled models."""

from __future__ import annotations

from statistics import mean

import pytest
import torch

from bench.fidelity import MODELS, Comparison, Task, compare

POINTS = 500
"""One point is 0.2 percentage points; with 250 single verdicts would weigh too much for the limits below."""

pytestmark = [pytest.mark.differential, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def results() -> list[Comparison]:
    return [
        r for model in MODELS for norm in ("Linf", "L2") for r in compare(Task(model, norm, POINTS, 0, ["ensemble"]))
    ]


@pytest.mark.parametrize(("attack", "most_on_average"), [("ensemble", 0.2), ("ensemble, all windows", 0.3)])
def test_the_ensemble_reaches_the_reference_on_every_model_and_norm(
    results: list[Comparison], attack: str, most_on_average: float
) -> None:
    """Ours may find more, for the published Square leaves out a row and a column; it may hardly find less."""
    excess = [result.excess for result in results if result.attack == attack]
    assert len(excess) == len(MODELS) * 2
    assert max(excess) <= 1
    assert mean(excess) <= most_on_average


def test_a_comparison_counts_the_verdicts_that_differ_each_way() -> None:
    """Its excess is in percentage points, and positive where ours finds less."""
    ours = torch.tensor([True, True, True, False, False])
    reference = torch.tensor([True, False, False, True, False])
    comparison = Comparison.of("m", "Linf", "square", 0, ours, reference)
    assert (comparison.missed, comparison.found) == (2, 1)
    assert comparison.excess == pytest.approx(20)
