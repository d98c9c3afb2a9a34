from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.analysis.fairness import PROTOCOL, fairness, relative_standard_deviation
from benchmark.protocols import protocol_named
from tests.benchmark.reports import MIXED, report_of


def test_classes_of_a_report_are_compared() -> None:
    """Of three classes, with 4, 3 and 3 points, 4, 0 and 0 are robust, and 4, 1 and 3 right without an attack."""
    found = fairness(report_of(MIXED))
    assert (found.worst_class, found.worst_robust_accuracy) == (1, 0)
    assert found.robust_spread == pytest.approx(np.std([1, 0, 0]) / np.mean([1, 0, 0]))
    assert found.standard_spread == pytest.approx(np.std([1, 1 / 3, 1]) / np.mean([1, 1 / 3, 1]))
    assert [part.label for part in found.classes] == [0, 1, 2]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_the_spread_is_numpy_s(values: list[float]) -> None:
    mean = np.mean(values)
    found = relative_standard_deviation(values)
    if mean == 0:
        assert found is None
    else:
        assert found == pytest.approx(np.std(values) / mean, abs=1e-9)


def test_even_classes_have_no_spread_and_nothing_has_none() -> None:
    assert relative_standard_deviation([0.25] * 4) == 0
    assert relative_standard_deviation([0.0] * 4) is None
    assert relative_standard_deviation([]) is None
    assert fairness(report_of(["apgd-ce"] * 4)).robust_spread is None


def test_the_attack_is_one_that_there_is() -> None:
    assert protocol_named(PROTOCOL).name == PROTOCOL
