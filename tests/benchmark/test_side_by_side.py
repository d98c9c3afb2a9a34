from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.errors import InvalidInput
from benchmark.report import EvaluationReport
from benchmark.side_by_side import MOST, SideBySide, Standing, side_by_side
from benchmark.statistics import exact_p_value, holm
from tests.benchmark.reports import MIXED, VERDICTS, points_of, report_of

ROBUST: list[str | None] = [None] * len(MIXED)


def compared(*verdicts: list[str | None]) -> SideBySide:
    reports = {f"model {number}": report_of(column) for number, column in enumerate(verdicts)}
    return side_by_side({name: Standing(report, report.points) for name, report in reports.items()})


def test_two_models_point_by_point() -> None:
    result = compared(MIXED, ROBUST)
    (pair,) = result.pairs
    assert (pair.a, pair.b) == ("model 0", "model 1")
    assert (pair.both, pair.only_a, pair.only_b, pair.neither) == (4, 0, 6, 0)
    assert pair.only_b_points == (1, 2, 4, 5, 7, 8)
    assert pair.only_a_points == ()
    assert pair.p_value == 2 / 2**6
    assert (result.all_keep, result.none_keeps) == (4, 0)
    assert [stage.after for stage in result.stages] == ["clean", "apgd-ce", "apgd-t", "fab-t", "square"]
    assert [stage.accuracies for stage in result.stages] == [(0.8, 1), (0.7, 1), (0.6, 1), (0.5, 1), (0.4, 1)]
    # Points 0, 3, 6, 9 are of class 0; 1, 4, 7 of class 1; 2, 5, 8 of class 2.
    assert [(row.label, row.points, row.standard, row.robust) for row in result.classes] == [
        (0, 4, (1, 1), (1, 1)),
        (1, 3, (1 / 3, 1), (0, 1)),
        (2, 3, (1, 1), (0, 1)),
    ]
    assert not result.corruptions


def test_pairs_go_by_the_worst_case_and_stages_by_the_evaluation() -> None:
    report = report_of(ROBUST)
    lowered = points_of(["apgd-t", *ROBUST[1:]])
    result = side_by_side({"a": Standing(report, report.points), "b": Standing(report, lowered)})
    assert result.pairs[0].only_a_points == (0,)
    assert list(result.stages[-1].accuracies) == [1, 1]
    assert list(result.classes[0].robust) == [1, 0.75]
    assert list(result.classes[0].standard) == [1, 1]


def test_attacks_that_only_some_were_given_are_left_out() -> None:
    report = report_of(ROBUST)
    short = report.model_copy(update={"attacks": tuple(one for one in report.attacks if one.name != "square")})
    result = side_by_side({"a": Standing(report, report.points), "b": Standing(short, short.points)})
    assert [stage.after for stage in result.stages] == ["clean", "apgd-ce", "apgd-t", "fab-t"]


@given(
    st.integers(2, MOST).flatmap(
        lambda models: st.lists(st.tuples(*[st.sampled_from(VERDICTS)] * models), min_size=1, max_size=40)
    )
)
def test_every_number_follows_from_the_verdicts(rows: list[tuple[str | None, ...]]) -> None:
    columns = [list(column) for column in zip(*rows, strict=True)]
    result = compared(*columns)
    assert [(pair.a, pair.b) for pair in result.pairs] == list(combinations(result.names, 2))
    for pair, (a, b) in zip(result.pairs, combinations(columns, 2), strict=True):
        assert pair.both + pair.only_a + pair.only_b + pair.neither == result.n_points
        assert pair.only_a_points == tuple(
            at for at, (first, second) in enumerate(zip(a, b, strict=True)) if first is None and second is not None
        )
        assert (len(pair.only_a_points), len(pair.only_b_points)) == (pair.only_a, pair.only_b)
        assert pair.p_value == pytest.approx(float(exact_p_value(pair.only_a, pair.only_b)))
    assert [pair.corrected_p_value for pair in result.pairs] == list(holm([pair.p_value for pair in result.pairs]))
    for model, column in enumerate(columns):
        robust = sum(by is None for by in column)
        assert result.all_keep <= robust <= result.n_points - result.none_keeps
        assert sum(row.robust[model] * row.points for row in result.classes) == pytest.approx(robust)
        assert result.stages[-1].accuracies[model] == pytest.approx(robust / result.n_points)
        kept = [stage.accuracies[model] for stage in result.stages]
        assert kept == sorted(kept, reverse=True)


@pytest.mark.parametrize("count", [0, 1, MOST + 1])
def test_too_few_and_too_many_are_refused(count: int) -> None:
    with pytest.raises(InvalidInput) as caught:
        compared(*[MIXED] * count)
    assert caught.value.detail is not None
    assert (caught.value.detail.field, caught.value.detail.found) == ("model", f"{count} models")


@pytest.mark.parametrize(
    ("other", "field"),
    [
        (report_of(MIXED, first=3), "points"),
        (report_of(MIXED[:-1]), "points"),
        (report_of(MIXED).model_copy(update={"epsilon": "1/9"}), "epsilon"),
    ],
)
def test_what_cannot_be_compared_is_refused_wherever_it_stands(other: EvaluationReport, field: str) -> None:
    report = report_of(MIXED)
    same = Standing(report, report.points)
    with pytest.raises(InvalidInput) as caught:
        side_by_side({"a": same, "b": same, "c": Standing(other, other.points)})
    assert caught.value.detail is not None
    assert caught.value.detail.field == field
