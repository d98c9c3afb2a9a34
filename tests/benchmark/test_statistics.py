from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from benchmark.errors import InvalidInput
from benchmark.report import EvaluationReport
from benchmark.seeds import SeedStudy, study_seeds
from benchmark.statistics import McNemar, compare_reports, exact_p_value, holm, mcnemar, standing_after
from tests.benchmark.reports import MIXED, VERDICTS, report_of

COUNTS = st.integers(0, 400)


@pytest.mark.parametrize(
    ("only_a", "only_b", "expected"),
    [
        (0, 0, Fraction(1)),
        (0, 1, Fraction(1)),
        (0, 5, Fraction(1, 16)),
        (5, 0, Fraction(1, 16)),
        (10, 2, Fraction(158, 4096)),  # 2 (1 + 12 + 66) / 2^12
        (1, 9, Fraction(22, 1024)),
        (7, 7, Fraction(1)),
        (8, 7, Fraction(1)),
    ],
)
def test_exact_p_values_in_closed_form(only_a: int, only_b: int, expected: Fraction) -> None:
    assert exact_p_value(only_a, only_b) == expected


def test_p_value_as_papers_print_it() -> None:
    assert McNemar(0, 0, 5, 0).p_value == 0.0625
    assert McNemar(100, 10, 2, 7).p_value == 0.03857421875


@pytest.mark.parametrize(("only_a", "only_b"), [(3, 12), (480, 520), (2_400, 2_600), (4_000, 5_000)])
def test_p_value_agrees_with_scipy(only_a: int, only_b: int) -> None:
    expected = binomtest(only_a, only_a + only_b).pvalue
    assert McNemar(1, only_a, only_b, 1).p_value == pytest.approx(expected, rel=1e-9)


def test_thousands_of_points_neither_overflow_nor_vanish() -> None:
    assert exact_p_value(0, 5_000) == Fraction(1, 2**4_999)
    assert McNemar(0, 0, 5_000, 0).p_value == math.ulp(0.0)
    assert McNemar(0, 10_000, 10_000, 0).p_value == 1


@given(only_a=COUNTS, only_b=COUNTS)
def test_p_value_is_symmetric_and_a_probability(only_a: int, only_b: int) -> None:
    p = exact_p_value(only_a, only_b)
    assert p == exact_p_value(only_b, only_a)
    assert 0 < p <= 1
    assert 0 < McNemar(0, only_a, only_b, 0).p_value <= 1
    if abs(only_a - only_b) <= 1:
        assert p == 1


@given(fewer=COUNTS, more=COUNTS)
def test_a_more_uneven_split_is_rarer(fewer: int, more: int) -> None:
    fewer, more = sorted((fewer, more))
    if fewer:
        assert exact_p_value(fewer - 1, more + 1) < exact_p_value(fewer, more) or fewer == more


def test_holm_by_hand() -> None:
    # In order 0.005 × 4, 0.01 × 3, 0.03 × 2, and 0.04 × 1, which may not come before the one that is less.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.6]) == (1.0, 1.0)
    assert holm([0.04]) == (0.04,)
    assert holm([]) == ()


P_VALUES = st.lists(st.floats(0, 1), max_size=30)


@given(p_values=P_VALUES)
def test_holm_keeps_the_order_and_never_makes_a_finding_more_surprising(p_values: list[float]) -> None:
    corrected = holm(p_values)
    assert all(
        p <= after <= min(1, len(p_values) * p) or p == after for p, after in zip(p_values, corrected, strict=True)
    )
    in_order = sorted(zip(p_values, corrected, strict=True))
    assert [after for _, after in in_order] == sorted(corrected)


@given(p_values=P_VALUES, level=st.sampled_from([0.01, 0.05, 0.5]))
def test_holm_finds_what_its_procedure_finds(p_values: list[float], level: float) -> None:
    found = 0
    for p_value in sorted(p_values):
        if (len(p_values) - found) * p_value > level:
            break
        found += 1
    assert sum(after <= level for after in holm(p_values)) == found


@given(p_values=P_VALUES.flatmap(lambda some: st.tuples(st.just(some), st.permutations(range(len(some))))))
def test_holm_does_not_ask_in_which_order_the_tests_come(p_values: tuple[list[float], list[int]]) -> None:
    some, order = p_values
    assert holm([some[i] for i in order]) == tuple(holm(some)[i] for i in order)


PAIRED = st.lists(st.tuples(st.sampled_from(VERDICTS), st.sampled_from(VERDICTS)), min_size=1, max_size=60)


@given(verdicts=PAIRED)
def test_counts_are_those_of_the_points(verdicts: list[tuple[str | None, str | None]]) -> None:
    a, b = (report_of([pair[side] for pair in verdicts]) for side in (0, 1))
    test, mirrored = mcnemar(a, b), mcnemar(b, a)
    assert test.both + test.only_a + test.only_b + test.neither == len(verdicts)
    assert test.both + test.only_a == sum(a.points.robust)
    assert test.both + test.only_b == sum(b.points.robust)
    assert (mirrored.only_a, mirrored.only_b) == (test.only_b, test.only_a)
    assert mirrored.p_value == test.p_value
    assert test.difference == pytest.approx(b.robust_accuracy - a.robust_accuracy)


def test_stages_follow_the_attacks_that_both_ran() -> None:
    a = report_of(MIXED)
    b = report_of([None, None, None, None, "apgd-t", "apgd-t", None, "clean", "fab-t", None], protocol="short-1")
    b = b.model_copy(update={"attacks": tuple(attack for attack in b.attacks if attack.name != "square")})
    comparison = compare_reports(a, b)
    assert [stage.after for stage in comparison.stages] == ["clean", "apgd-ce", "apgd-t", "fab-t"]
    for stage, before in zip(comparison.stages[1:], comparison.stages, strict=False):
        assert stage.accuracy_a <= before.accuracy_a
        assert stage.accuracy_b <= before.accuracy_b
    clean, robust = comparison.stages[0], comparison.robust
    assert (clean.accuracy_a, clean.accuracy_b) == (a.standard_accuracy, b.standard_accuracy)
    assert (clean.both, clean.only_a, clean.only_b, clean.neither) == (8, 0, 1, 1)
    assert (robust.accuracy_a, robust.accuracy_b) == (0.4, 0.6)
    assert (robust.both, robust.only_a, robust.only_b, robust.neither) == (4, 0, 2, 4)
    assert robust.p_value == 0.5
    assert (comparison.a.robust_interval, comparison.b.protocol) == (a.robust_interval, "short-1")
    after = [sum(standing_after(a, attack.name)) / 10 for attack in a.attacks]
    assert after == pytest.approx([attack.robust_accuracy_after for attack in a.attacks])


def _other(**changes: Any) -> EvaluationReport:
    return report_of(MIXED).model_copy(update=changes)


@pytest.mark.parametrize(
    ("other", "field"),
    [
        (_other(dataset="cifar10"), "dataset"),
        (_other(norm="L2"), "norm"),
        (_other(epsilon="4/255"), "epsilon"),
        (report_of(MIXED, first=1), "points"),
        (report_of(MIXED[:-1]), "points"),
        (report_of(MIXED, classes=4), "points"),
    ],
)
def test_reports_that_cannot_be_compared_are_refused(other: EvaluationReport, field: str) -> None:
    for compare in (mcnemar, compare_reports):
        with pytest.raises(InvalidInput) as caught:
            compare(report_of(MIXED), other)
        assert caught.value.detail is not None
        assert caught.value.detail.field == field


def _seeds() -> list[EvaluationReport]:
    lines: list[list[str | None]] = [MIXED, [*MIXED[:-1], "square"], MIXED, [*MIXED[:-1], "apgd-ce"]]
    return [report_of(line, seed=seed, seconds=float(seed)) for seed, line in enumerate(lines)]


def test_a_seed_study_gives_the_spread_of_a_sample() -> None:
    reports = _seeds()
    study = study_seeds(reports)
    robust = study.robust_accuracy
    assert robust.mean == pytest.approx(0.35)
    assert (robust.minimum, robust.maximum) == (0.3, 0.4)
    assert robust.standard_deviation == pytest.approx(math.sqrt(4 * 0.05**2 / 3))
    assert study.attacks == ("apgd-ce", "apgd-t", "fab-t", "square")
    assert [stage.mean for stage in study.after] == pytest.approx([0.675, 0.575, 0.475, 0.35])
    assert study.after[-1] == robust
    assert (study.seconds.mean, study.seconds.maximum) == (1.5, 3)
    assert [result.seed for result in study.seeds] == [0, 1, 2, 3]
    assert [result.results_sha256 for result in study.seeds] == [report.results_sha256() for report in reports]
    assert SeedStudy.model_validate_json(study.model_dump_json()) == study


def test_equal_accuracies_have_no_spread() -> None:
    study = study_seeds([report_of(MIXED, seed=seed) for seed in range(3)])
    assert study.robust_accuracy.standard_deviation == 0
    assert study.robust_accuracy.mean == study.robust_accuracy.minimum == 0.4


@pytest.mark.parametrize(
    ("reports", "field"),
    [
        ([], "seeds"),
        ([report_of(MIXED)], "seeds"),
        ([report_of(MIXED), report_of(MIXED)], "seeds"),
        ([report_of(MIXED), report_of(MIXED, seed=1, protocol="plus-1")], "protocol"),
        ([report_of(MIXED), report_of(MIXED, seed=1, checkpoint_sha256="0" * 64)], "checkpoint"),
        ([report_of(MIXED), report_of(MIXED, first=1, seed=1)], "points"),
    ],
)
def test_what_is_no_seed_study_is_refused(reports: list[EvaluationReport], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        study_seeds(reports)
    assert caught.value.detail is not None
    assert caught.value.detail.field == field
