from __future__ import annotations

import pytest

from store.boards import get_board, list_points
from store.views import BoardPoint, ExtraData
from tests.running import Running
from web.charts import Mark, Tick, scatter

POINT = BoardPoint(
    model_id="Method A",
    extra_data=ExtraData.NONE,
    standard_accuracy=0.9,
    best_known_robust_accuracy=0.6,
    flagged=False,
)


@pytest.fixture
def marks(service: Running) -> tuple[Mark, ...]:
    plot = scatter("cifar10", "Linf", list_points(service.services.db, "cifar10", "Linf"))
    assert plot is not None
    return plot.marks


def test_scatter_keeps_the_order_of_the_numbers_and_stays_inside(service: Running, marks: tuple[Mark, ...]) -> None:
    rows = get_board(service.services.db, "cifar10", "Linf").rows
    assert len(marks) == len(rows)
    by_standard = sorted(range(len(rows)), key=lambda i: rows[i].standard_accuracy or 0)
    assert [marks[i].x for i in by_standard] == sorted(mark.x for mark in marks)
    by_robust = sorted(range(len(rows)), key=lambda i: -(rows[i].best_known_robust_accuracy or 0))
    assert [marks[i].y for i in by_robust] == sorted(mark.y for mark in marks)
    assert all(48 <= mark.x <= 694 and 40 <= mark.y <= 384 for mark in marks)


def test_scatter_marks_what_is_flagged(service: Running, marks: tuple[Mark, ...]) -> None:
    rows = get_board(service.services.db, "cifar10", "Linf").rows
    assert [mark.hollow for mark in marks] == [bool(row.potentially_unreliable) for row in rows]
    assert any(mark.hollow for mark in marks)
    assert {mark.shape for mark in marks} == {ExtraData.NONE, ExtraData.SOME}


def test_scatter_draws_the_front_and_the_grid() -> None:
    numbers = [(0.8, 0.4), (0.9, 0.3), (0.7, 0.35), (0.5, 0.5), (0.9, 0.2)]
    rows = [
        POINT.model_copy(update={"standard_accuracy": standard, "best_known_robust_accuracy": robust})
        for standard, robust in numbers
    ]
    plot = scatter("cifar10", "Linf", rows)
    assert plot is not None
    places = [f"{plot.marks[i].x:g} {plot.marks[i].y:g}" for i in (3, 0, 1)]
    assert plot.front == "M" + "L".join(places)
    assert [tick.label for tick in plot.x_ticks] == ["40", "50", "60", "70", "80", "90", "100"]
    assert plot.x_ticks[0] == Tick(at=48, label="40")
    assert plot.x_ticks[-1].at == 694
    assert plot.y_ticks[0].at == 384


@pytest.mark.parametrize("accuracy", [0.0, 0.5, 1.0])
def test_scatter_copes_with_equal_numbers(accuracy: float) -> None:
    same = POINT.model_copy(update={"standard_accuracy": accuracy, "best_known_robust_accuracy": accuracy})
    plot = scatter("cifar10", "Linf", [same] * 3)
    assert plot is not None
    assert len({(mark.x, mark.y) for mark in plot.marks}) == 1
    assert plot.front == ""


def test_scatter_of_too_few_is_none() -> None:
    assert scatter("cifar10", "Linf", [POINT, POINT]) is None


def test_scatter_thins_what_would_lie_on_each_other() -> None:
    points = [
        POINT.model_copy(
            update={
                "model_id": f"m{i}",
                "standard_accuracy": i % 100 / 100,
                "best_known_robust_accuracy": 1 - i / 10_000,
            }
        )
        for i in range(10_000)
    ]
    few = scatter("digits", "L2", points[:2_000])
    assert few is not None
    assert (few.entries, len(few.marks)) == (2_000, 2_000)
    plot = scatter("digits", "L2", points)
    assert plot is not None
    assert plot.entries == 10_000
    assert 2_000 < len(plot.marks) <= 3_600
    drawn = {(mark.x // 8, mark.y // 8): mark for mark in plot.marks}
    assert len(drawn) == len(plot.marks)
    assert plot.marks[0].label.startswith("m0:")
    whole = scatter("digits", "L2", points[:100])
    assert whole is not None
    # The front runs along entries that the thinned plot may not draw.
    assert plot.front.count("L") > 10
    assert (plot.x_ticks, plot.y_ticks[0].at) == (whole.x_ticks, 384)
