"""The table of corruptions, the mean corruption error, and the reports that bear them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from benchmark.corruption_table import CorruptionCell, CorruptionTable, mean_corruption_error, merge_tables
from benchmark.merging import merge_reports
from benchmark.report import EvaluationReport, Points
from benchmark.summing_up import build_report, clustered_interval, wilson_interval
from tests.benchmark.reports import outcome_of, provenance_of, report_of

TYPES = ("fog", "snow")


def table_of(
    counts: Sequence[Sequence[int]], source: str = "generated-1", types: Sequence[str] = TYPES
) -> CorruptionTable:
    cells = tuple(
        CorruptionCell(corruption=name, severity=severity, correct=correct)
        for name, row in zip(types, counts, strict=True)
        for severity, correct in enumerate(row, start=1)
    )
    return CorruptionTable(source=source, cells=cells, forward_passes=7)


def report_on(right: Sequence[Sequence[bool]], clean: Sequence[bool], first: int = 0) -> EvaluationReport:
    """A report on two types at two severities: for each point, in which of the four cells it is right."""
    kept = tuple(sum(row) for row in right)
    broken_by = tuple(
        "clean" if not one else None if times == 4 else "fog-1" for one, times in zip(clean, kept, strict=True)
    )
    counts = [sum(row[cell] for row in right) for cell in range(4)]
    return build_report(
        norm="corruptions",
        epsilon="0",
        dataset="digits",
        protocol="corruptions-1",
        attacks=(),
        checks=(),
        provenance=provenance_of(),
        corruptions=table_of([counts[:2], counts[2:]]),
        points=Points(
            index=tuple(range(first, first + len(kept))),
            label=tuple(i % 3 for i in range(first, first + len(kept))),
            robust=tuple(by is None for by in broken_by),
            broken_by=broken_by,
            step=(None,) * len(kept),
            distance=tuple(0.0 if by == "clean" else None for by in broken_by),
            kept=kept,
        ),
    )


ROWS = [[True] * 4, [True, False, True, False], [False] * 4, [True, True, True, False]]
CLEAN = [True, True, False, True]


def test_the_error_is_held_against_the_baselines_type_by_type() -> None:
    """Hendrycks & Dietterich's own formula on figures small enough for a pencil."""
    model, baseline = table_of([[8, 6], [5, 5]]), table_of([[6, 2], [5, 0]])
    fog, snow = (2 + 4) / (4 + 8), (5 + 5) / (5 + 10)
    assert mean_corruption_error(model, 10, baseline, 10) == pytest.approx(100 * (fog + snow) / 2)
    assert mean_corruption_error(baseline, 10, baseline, 10) == pytest.approx(100)


def test_sizes_of_the_two_evaluations_may_differ() -> None:
    assert mean_corruption_error(table_of([[8, 6], [5, 5]]), 10, table_of([[16, 12], [10, 10]]), 20) == 100


@pytest.mark.parametrize(
    "baseline",
    [table_of([[10, 10], [5, 5]]), table_of([[5, 5], [5, 5]], types=("fog", "frost")), table_of([[5]], types=("fog",))],
)
def test_there_is_no_error_where_it_is_not_defined(baseline: CorruptionTable) -> None:
    """The baseline is always right in one type, or the types are others."""
    assert mean_corruption_error(table_of([[8, 6], [5, 5]]), 10, baseline, 10) is None


def test_score_is_the_mean_over_cells_and_a_point_robust_where_all_are_right() -> None:
    report = report_on(ROWS, CLEAN)
    assert report.robust_accuracy == (4 + 2 + 0 + 3) / 16
    assert report.standard_accuracy == 3 / 4
    assert report.points.robust == (True, False, False, False)
    assert [part.robust_accuracy for part in report.classwise] == [7 / 8, 2 / 4, 0.0]
    assert report.corruptions is not None
    assert report.corruptions.errors(4) == {"fog": 1 - 5 / 8, "snow": 1 - 4 / 8}
    assert not any(check.code == "square_helps" for check in report.checks)


def test_a_point_that_is_misclassified_clean_still_counts_where_it_is_right() -> None:
    """Nobody attacks, so corrupted images may be classified better than clean ones."""
    report = report_on([[True] * 4, [True] * 4], [False, True])
    assert (report.standard_accuracy, report.robust_accuracy) == (0.5, 1.0)
    assert report.points.broken_by == ("clean", None)


def test_reports_round_trip_and_older_points_keep_their_bytes() -> None:
    report = report_on(ROWS, CLEAN)
    assert EvaluationReport.model_validate_json(report.to_bytes()) == report
    assert Points.from_bytes(report.points.to_bytes()) == report.points
    attacked = report_of([None, "clean", "square"])
    assert b"kept" not in attacked.points.model_dump_json(exclude_none=True).encode()
    assert Points.from_bytes(attacked.points.to_bytes()) == attacked.points


@given(
    st.lists(st.tuples(st.lists(st.booleans(), min_size=4, max_size=4), st.booleans()), min_size=2, max_size=30),
    st.data(),
)
def test_shards_merge_to_the_whole(rows: list[tuple[list[bool], bool]], data: st.DataObject) -> None:
    right, clean = [row for row, _ in rows], [one for _, one in rows]
    whole = report_on(right, clean)
    cut = data.draw(st.integers(1, len(rows) - 1))
    merged = merge_reports([report_on(right[cut:], clean[cut:], cut), report_on(right[:cut], clean[:cut])], ())
    assert merged.points == whole.points
    assert merged.robust_accuracy == whole.robust_accuracy
    assert merged.corruptions is not None
    assert whole.corruptions is not None
    assert merged.corruptions.cells == whole.corruptions.cells
    assert merged.corruptions.forward_passes == 2 * whole.corruptions.forward_passes


def test_tables_of_other_images_are_not_added_up() -> None:
    with pytest.raises(ValueError, match="same corruptions"):
        merge_tables([table_of([[1], [1]]), table_of([[1], [1]], source="CIFAR-10-C")])
    with pytest.raises(ValueError, match="at least one"):
        merge_tables([])


@pytest.mark.parametrize(
    ("cells", "match"),
    [
        ([("fog", 1, 3), ("fog", 1, 3)], "once"),
        ([("fog", 2, 3), ("fog", 1, 3)], "slightest"),
        ([("fog", 1, 3), ("snow", 1, 3), ("fog", 2, 3)], "slightest"),
        ([("fog", 6, 3)], "less than or equal to 5"),
        ([], "at least 1"),
    ],
)
def test_tables_that_contradict_themselves_are_refused(cells: list[tuple[str, int, int]], match: str) -> None:
    listed = [{"corruption": name, "severity": severity, "correct": correct} for name, severity, correct in cells]
    with pytest.raises(ValidationError, match=match):
        CorruptionTable.model_validate({"source": "generated-1", "cells": listed, "forward_passes": 0})


def _tampered(**changes: Any) -> dict[str, Any]:
    content = report_on(ROWS, CLEAN).model_dump(mode="json")
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = content
        for parent in parents:
            place = place[parent]
        place[last] = value
    return content


@pytest.mark.parametrize(
    "changes",
    [
        {"robust_accuracy": 0.9},
        {"points__kept": [4, 2, 0, 2]},
        {"points__kept": [4, 1, 0, 4]},
        {"points__kept": [5, 2, 0, 2]},
        {"points__kept": [4, 2, 0]},
        {"points__kept": None},
        {"corruptions": None},
        {"norm": "Linf"},
        {"points__robust": [True, True, False, False], "points__broken_by": [None, None, "clean", "fog-1"]},
        {"attacks": [outcome_of("square").model_dump(mode="json")]},
    ],
)
def test_reports_that_contradict_themselves_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        EvaluationReport.model_validate(_tampered(**changes))


def test_the_untampered_report_is_fine() -> None:
    EvaluationReport.model_validate(_tampered())


def test_points_of_one_mind_have_the_interval_of_so_many_points() -> None:
    """Where a point is right in all cells or in none, its images are worth one."""
    assert clustered_interval([4] * 30 + [0] * 10, 4) == wilson_interval(30, 40)


def test_points_that_do_not_resemble_each_other_have_the_interval_of_so_many_images() -> None:
    assert clustered_interval([3] * 40, 4) == wilson_interval(120, 160)


@given(st.lists(st.integers(0, 75), min_size=1, max_size=200))
def test_the_interval_lies_between_these_two(kept: list[int]) -> None:
    interval = clustered_interval(kept, 75)
    images = wilson_interval(sum(kept), 75 * len(kept))
    width = interval.high - interval.low
    assert interval.low - 1e-12 <= sum(kept) / (75 * len(kept)) <= interval.high + 1e-12
    assert width >= images.high - images.low - 1e-12
