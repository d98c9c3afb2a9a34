from __future__ import annotations

from typing import Any

import pytest

from benchmark.report import Check, CheckOutcome, EvaluationReport, Shard, merge_reports
from benchmark.reproduction import ChangedPoint, Difference, compare_runs
from tests.benchmark.reports import MIXED, report_of

HASHES = ("a" * 64, "b" * 64)


def test_equal_reports_are_bit_identical_whatever_the_clock_says() -> None:
    recorded = report_of(MIXED, examples_sha256=HASHES[0])
    found = compare_runs(recorded, report_of(MIXED, examples_sha256=HASHES[0], seconds=99.0))
    assert found.bit_identical
    assert found.recorded_results_sha256 == found.found_results_sha256 == recorded.results_sha256()
    assert (found.environment, found.changed_points, found.moved_points, found.attacks, found.checks) == ((),) * 5
    assert found.examples == "equal"


def test_other_surroundings_are_told_even_where_the_result_is_the_same() -> None:
    changes: dict[str, Any] = {"hardware": "another CPU", "threads": 4, "versions": {"torch": "2", "numpy": "1"}}
    found = compare_runs(report_of(MIXED), report_of(MIXED, **changes))
    assert found.bit_identical
    assert found.recorded_results_sha256 != found.found_results_sha256
    assert found.environment == (
        Difference(name="threads", recorded="1", found="4"),
        Difference(name="hardware", recorded="a CPU", found="another CPU"),
        Difference(name="version of torch", recorded="1", found="2"),
        Difference(name="version of numpy", recorded="None", found="1"),
    )


def test_changed_verdicts_are_named_point_by_point() -> None:
    again: list[str | None] = [*MIXED]
    again[0], again[2], again[4] = "square", "apgd-t", None
    found = compare_runs(report_of(MIXED, first=100), report_of(again, first=100))
    assert not found.bit_identical
    assert found.changed_points == (
        ChangedPoint(index=100, recorded=None, found="square", robustness_changed=True),
        ChangedPoint(index=102, recorded="apgd-ce", found="apgd-t", robustness_changed=False),
        ChangedPoint(index=104, recorded="square", found=None, robustness_changed=True),
    )
    assert Difference(name="apgd-ce: broken", recorded="1", found="0") in found.attacks
    assert found.moved_points == ()


def test_another_step_or_distance_is_no_other_verdict() -> None:
    recorded = report_of(MIXED)
    columns = recorded.points
    moved = columns.model_copy(
        update={"step": (*columns.step[:2], 9, *columns.step[3:]), "distance": (*columns.distance[:8], 0.1, None)}
    )
    found = compare_runs(recorded, recorded.model_copy(update={"points": moved}))
    assert (found.bit_identical, found.changed_points, found.moved_points) == (False, (), (2, 8))


@pytest.mark.parametrize(
    ("recorded", "found", "examples", "identical"),
    [
        (HASHES[0], HASHES[0], "equal", True),
        (HASHES[0], HASHES[1], "different", False),
        (None, HASHES[0], "not recorded", True),
    ],
)
def test_examples_count_where_they_were_recorded(
    recorded: str | None, found: str, examples: str, identical: bool
) -> None:
    reproduction = compare_runs(report_of(MIXED, examples_sha256=recorded), report_of(MIXED, examples_sha256=found))
    assert (reproduction.examples, reproduction.bit_identical) == (examples, identical)


def test_checks_count_but_for_measured_times() -> None:
    def with_checks(cost: float, accuracy: float) -> EvaluationReport:
        checks = tuple(
            Check(code=code, outcome=CheckOutcome.PASSED, value=value, message=f"It is {value}.")
            for code, value in (("predicted_cost", cost), ("standard_accuracy", accuracy))
        )
        return report_of(MIXED).model_copy(update={"checks": checks})

    assert compare_runs(with_checks(1, 0.5), with_checks(2, 0.5)).bit_identical
    found = compare_runs(with_checks(1, 0.5), with_checks(1, 0.75))
    assert not found.bit_identical
    (difference,) = found.checks
    assert difference.name == "standard_accuracy"
    assert "0.75" in difference.found


def test_surroundings_of_each_shard_are_told() -> None:
    def two(second: str) -> EvaluationReport:
        return merge_reports([report_of(MIXED), report_of(MIXED, 10, hardware=second)], [])

    found = compare_runs(two("a CPU"), two("another CPU"))
    assert found.environment == (Difference(name="hardware of points 10 to 19", recorded="a CPU", found="another CPU"),)
    # What differs everywhere is told once.
    everywhere = two("a CPU").provenance
    assert everywhere.shards is not None
    shards = tuple(Shard.model_validate({**shard.model_dump(), "threads": 2}) for shard in everywhere.shards)
    moved = everywhere.model_copy(update={"threads": 2, "shards": shards})
    found = compare_runs(two("a CPU"), two("a CPU").model_copy(update={"provenance": moved}))
    assert found.environment == (Difference(name="threads", recorded="1", found="2"),)
