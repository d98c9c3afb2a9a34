from __future__ import annotations

import pytest

from benchmark.analysis.material import spread


@pytest.mark.parametrize("size", [1, 2, 3, 10, 75, 260, 1_880, 2_000, 90_000])
def test_positions_are_all_different(size: int) -> None:
    assert sorted(spread(size, size)) == list(range(size))


@pytest.mark.parametrize(("size", "n"), [(1_880, 500), (90_000, 500), (90_000, 100), (2_000, 20)])
def test_the_first_so_many_lie_evenly(size: int, n: int) -> None:
    """In ten equal parts, as the classes of a sorted set are, none has twice its share or less than half of it."""
    parts = [0] * 10
    for place in spread(size, n):
        parts[10 * place // size] += 1
    assert n / 20 <= min(parts) <= max(parts) < n / 5
    assert spread(size, n)[: n // 2] == spread(size, n // 2)
