from __future__ import annotations

import hashlib
import json
import math
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.stats import binomtest

from benchmark.merging import merge_reports
from benchmark.report import Check, CheckOutcome, EvaluationReport, Evidence, Points, canonical_json
from benchmark.summing_up import unreliability_check, wilson_interval
from tests.benchmark.reports import MIXED, VERDICTS, outcome_of, points_of, report_of


def test_numbers_follow_from_the_points() -> None:
    report = report_of(MIXED)
    assert (report.n_points, report.standard_accuracy, report.robust_accuracy) == (10, 0.8, 0.4)
    assert [attack.robust_accuracy_after for attack in report.attacks] == pytest.approx([0.7, 0.6, 0.5, 0.4])
    assert [(row.label, row.points) for row in report.classwise] == [(0, 4), (1, 3), (2, 3)]
    assert [row.standard_accuracy for row in report.classwise] == pytest.approx([1, 1 / 3, 1])
    assert [row.robust_accuracy for row in report.classwise] == [1, 0, 0]
    assert [check.code for check in report.checks] == ["randomized", "square_helps"]
    assert [check.code for check in report.findings] == ["square_helps"]


def test_bytes_are_canonical_and_round_trip() -> None:
    report = report_of(MIXED)
    data = report.to_bytes()
    assert EvaluationReport.model_validate_json(data) == report
    assert EvaluationReport.model_validate_json(data).to_bytes() == data
    assert data == canonical_json(json.loads(data))
    assert list(json.loads(data)) == sorted(json.loads(data))
    summary = json.loads(report.summary_bytes())
    assert "points" not in summary
    assert len(summary["points_sha256"]) == 64


def test_canonical_json_has_one_form_and_no_nan() -> None:
    assert canonical_json({"b": [1, 2.5, None], "a": "ε"}) == '{"a":"ε","b":[1,2.5,null]}'.encode()
    for value in (math.nan, math.inf):
        with pytest.raises(ValueError, match="JSON"):
            canonical_json({"x": value})


def test_hash_of_results_leaves_out_times_and_hardware_and_nothing_else() -> None:
    report = report_of(MIXED)
    assert report.results_sha256() == report_of(MIXED, seconds=9.0, hardware="another CPU").results_sha256()
    slower = [attack.model_copy(update={"seconds": 99.0}) for attack in report.attacks]
    assert report.model_copy(update={"attacks": tuple(slower)}).results_sha256() == report.results_sha256()
    timed = Check(code="predicted_cost", outcome=CheckOutcome.PASSED, value=9.0, message="About 9 seconds.")
    measured = Check(code="standard_accuracy", outcome=CheckOutcome.PASSED, value=0.9, message="It is 0.9.")
    with_timed = report.model_copy(update={"checks": (*report.checks, timed)})
    with_measured = report.model_copy(update={"checks": (*report.checks, measured)})
    assert with_timed.results_sha256() == report.results_sha256() != with_measured.results_sha256()
    for changes in (
        {"seed": 1},
        {"slot_width": 8},
        {"threads": 2},
        {"versions": {"torch": "2"}},
        {"preprocessing": "a"},
    ):
        assert report_of(MIXED, **changes).results_sha256() != report.results_sha256()
    assert report_of([*MIXED[:-1], "square"]).results_sha256() != report.results_sha256()
    assert report_of(MIXED, first=1).results_sha256() != report.results_sha256()


def test_what_reports_bear_only_since_later_leaves_older_hashes_as_they_were() -> None:
    """The hash of a report from before there were hashes of examples, written down then."""
    old = json.loads(report_of(MIXED).to_bytes())
    for name in ("examples_sha256", "policy", "evidence"):
        del old[name]
    for name in ("architecture", "zoo_id", "shards"):
        del old["provenance"][name]
    report = EvaluationReport.model_validate(old | {"schema_version": 1})
    assert report.results_sha256() == "306e3bac9350685e6283d4caacc03471c06de16e0082ca71882c3214b805c199"
    assert report == report_of(MIXED).model_copy(update={"schema_version": 1})
    report = EvaluationReport.model_validate(old)
    named = report_of(MIXED, architecture="digits_cnn", zoo_id="Digits_Standard")
    assert named.results_sha256() == report.results_sha256()
    assert merge_reports([report], report.checks).results_sha256() == report.results_sha256()
    with_examples = [report_of(MIXED, examples_sha256=digit * 64) for digit in "01"]
    assert len({report.results_sha256() for report in (report, *with_examples)}) == 3


def test_evidence_and_the_version_of_the_restrictions_count_among_the_results() -> None:
    plain = report_of(MIXED)
    found = Evidence(
        code="noise_helps",
        outcome=CheckOutcome.FLAGGED,
        value=0.25,
        threshold=0.02,
        message="Noise broke 16 of 64 points that ten gradient steps had left.",
        numbers={"broken by noise alone": 16, "points": 64},
        meaning="The gradients hide what is there.",
    )
    told = plain.model_copy(update={"policy": 2, "evidence": (found,)})
    assert [check.code for check in told.findings] == ["square_helps", "noise_helps"]
    assert EvaluationReport.model_validate_json(told.to_bytes()) == told
    other = told.model_copy(update={"evidence": (found.model_copy(update={"value": 0.5}),)})
    reports = (plain, told, other, plain.model_copy(update={"policy": 2}))
    assert len({report.results_sha256() for report in reports}) == 4
    merged = merge_reports([plain], plain.checks, policy=2, evidence=[found])
    assert (merged.policy, merged.evidence) == (2, (found,))


def test_merged_reports_tell_their_shards_and_the_hash_of_all_examples() -> None:
    shards = [report_of(MIXED, 10 * i, examples_sha256=f"{i}" * 64, threads=i + 1) for i in range(3)]
    merged = merge_reports([shards[2], shards[0], shards[1]], [])
    assert merged.provenance.shards is not None
    assert [shard.points for shard in merged.provenance.shards] == [10, 10, 10]
    assert [shard.threads for shard in merged.provenance.shards] == [1, 2, 3]
    assert [shard.examples_sha256 for shard in merged.provenance.shards] == [f"{i}" * 64 for i in range(3)]
    joined = bytes.fromhex("0" * 64 + "1" * 64 + "2" * 64)
    assert merged.examples_sha256 == hashlib.sha256(joined).hexdigest()
    assert merge_reports(shards[:1], []).examples_sha256 == "0" * 64
    assert merge_reports([*shards, report_of(MIXED, 30)], []).examples_sha256 is None


@given(verdicts=st.lists(st.sampled_from(VERDICTS), min_size=1, max_size=40), first=st.integers(0, 10**6))
def test_points_round_trip_through_equal_bytes(verdicts: list[str | None], first: int) -> None:
    points = points_of(verdicts, first)
    assert Points.from_bytes(points.to_bytes()) == points
    assert Points.from_bytes(points.to_bytes()).to_bytes() == points.to_bytes()


def test_points_that_unpack_to_too_much_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = points_of([None] * 200).to_bytes()
    assert len(Points.from_bytes(data).index) == 200
    monkeypatch.setattr("benchmark.report.MAX_POINTS_BYTES", 1000)
    with pytest.raises(ValueError, match="1000 bytes"):
        Points.from_bytes(data)


def test_points_are_compact() -> None:
    points = points_of([VERDICTS[i * i % 7 % 6] for i in range(10_000)])
    assert len(points.to_bytes()) < 60_000


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (8, 10, 0.490162, 0.943318),
        (0, 10, 0.0, 0.277533),
        (10, 10, 0.722467, 1.0),
        (50, 100, 0.403832, 0.596168),
    ],
)
def test_wilson_interval(successes: int, trials: int, low: float, high: float) -> None:
    interval = wilson_interval(successes, trials)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=1e-6)


@pytest.mark.parametrize(("successes", "trials"), [(1, 3), (499, 500), (4987, 10_000)])
def test_wilson_interval_agrees_with_scipy(successes: int, trials: int) -> None:
    expected = binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    interval = wilson_interval(successes, trials)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=1e-7)


@given(trials=st.integers(1, 100_000), share=st.floats(0, 1))
def test_wilson_interval_solves_its_quadratic(trials: int, share: float) -> None:
    """At each end p the score test is just met: (rate - p)² = z² p (1 - p) / n."""
    successes = round(trials * share)
    interval = wilson_interval(successes, trials)
    rate = successes / trials
    assert interval.low <= rate + 1e-12
    assert interval.high >= rate - 1e-12
    for end in (interval.low, interval.high):
        assert (rate - end) ** 2 == pytest.approx(1.959964**2 * end * (1 - end) / trials, abs=1e-9)


@pytest.mark.parametrize(
    ("n", "broken", "flagged"),
    [
        (500, 0, False), (500, 1, False), (500, 2, True), (1000, 2, False), (1000, 3, True),
        (10_000, 20, False), (10_000, 21, True), (499, 1, True), (1, 1, True),
    ],
)  # fmt: skip
def test_unreliability_is_decided_in_integers(n: int, broken: int, flagged: bool) -> None:
    check = unreliability_check(n, [outcome_of("apgd-ce"), outcome_of("square", broken=broken)])
    assert check.outcome is (CheckOutcome.FLAGGED if flagged else CheckOutcome.PASSED)
    assert check.value == pytest.approx(broken / n)
    assert bool(check.remedy) == flagged


@pytest.mark.parametrize("names", [["apgd-ce", "fab-t"], ["square"], ["apgd-ce", "square", "apgd-t"], []])
def test_unreliability_needs_square_after_others(names: list[str]) -> None:
    check = unreliability_check(100, [outcome_of(name, broken=50) for name in names])
    assert check.outcome is CheckOutcome.NOT_ASSESSED


@given(
    verdicts=st.lists(st.sampled_from(VERDICTS), min_size=3, max_size=60),
    data=st.data(),
)
def test_three_shards_merge_to_the_whole(verdicts: list[str | None], data: st.DataObject) -> None:
    one = data.draw(st.integers(1, len(verdicts) - 2))
    two = data.draw(st.integers(one + 1, len(verdicts) - 1))
    whole = report_of(verdicts)
    shards = [report_of(verdicts[:one]), report_of(verdicts[one:two], one), report_of(verdicts[two:], two)]
    merged = merge_reports(data.draw(st.permutations(shards)), whole.checks)
    assert merged.points == whole.points
    assert merged.classwise == whole.classwise
    assert merged.checks == whole.checks
    assert (merged.standard_accuracy, merged.robust_accuracy) == (whole.standard_accuracy, whole.robust_accuracy)
    for attack, expected in zip(merged.attacks, whole.attacks, strict=True):
        assert (attack.attacked, attack.broken) == (expected.attacked, expected.broken)
        assert attack.forward_passes == expected.forward_passes
        assert attack.robust_accuracy_after == pytest.approx(expected.robust_accuracy_after)
    assert merged.provenance.seconds == pytest.approx(18)


@pytest.mark.parametrize("changes", [{"seed": 1}, {"slot_width": 8}, {"checkpoint_sha256": "0" * 64}])
def test_shards_of_different_runs_are_not_merged(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="do not belong to one run"):
        merge_reports([report_of(MIXED), report_of(MIXED, 10, **changes)], [])


def test_shards_that_overlap_are_not_merged() -> None:
    with pytest.raises(ValueError, match="increase strictly"):
        merge_reports([report_of(MIXED), report_of(MIXED, 9)], [])


def test_no_shards_are_no_report() -> None:
    with pytest.raises(ValueError, match="at least one shard"):
        merge_reports([], [])


def _tampered(**changes: Any) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(report_of(MIXED).to_bytes())
    for path, value in changes.items():
        *parents, last = path.split("__")
        place: Any = content
        for parent in parents:
            place = place[int(parent) if parent.isdigit() else parent]
        place[last] = value
    return content


SHARD = {"threads": 1, "layout": "contiguous", "device": "cpu", "hardware": "a CPU", "versions": {}}


@pytest.mark.parametrize(
    "changes",
    [
        {"robust_accuracy": 0.5},
        {"standard_accuracy": 0.9},
        {"n_points": 11},
        {"robust_accuracy": 1.5},
        {"standard_accuracy": "NaN"},
        {"attacks__0__broken": 2},
        {"attacks__0__broken": 0, "attacks__1__broken": 2},
        {"attacks__0__name": "apgd-dlr"},
        {"points__robust": [True] * 10},
        {"points__label": [0] * 9},
        {"points__index": [0, 1, 2, 3, 4, 5, 6, 7, 9, 8]},
        {"points__index": [0, 0, 2, 3, 4, 5, 6, 7, 8, 9]},
        {"points__index": [-1, 1, 2, 3, 4, 5, 6, 7, 8, 9]},
        {"provenance__checkpoint_sha256": "0" * 63},
        {"provenance__shards": [{**SHARD, "points": 9}]},
        {"provenance__shards": [{**SHARD, "points": 10}, {**SHARD, "points": 10}]},
        {"surprise": 1},
    ],
    ids=str,
)
def test_inconsistent_reports_are_refused(changes: dict[str, Any]) -> None:
    EvaluationReport.model_validate(_tampered(provenance__shards=[{**SHARD, "points": 10}]))
    with pytest.raises(ValidationError):
        EvaluationReport.model_validate(_tampered(**changes))


def test_no_points_are_no_report() -> None:
    with pytest.raises(ValueError, match="at least one"):
        report_of([])


def test_reports_are_frozen() -> None:
    report = report_of(MIXED)
    with pytest.raises(ValidationError, match="frozen"):
        report.robust_accuracy = 1.0  # type: ignore[misc]


def test_accuracies_are_exact_fractions_of_the_points() -> None:
    for n in (3, 7, 500, 9999):
        verdicts: list[str | None] = [None] * (n // 3) + ["clean"] * (n // 5) + ["square"] * (n - n // 3 - n // 5)
        report = report_of(verdicts)
        assert report.robust_accuracy == float(Fraction(n // 3, n))
