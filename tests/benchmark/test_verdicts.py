"""Verdicts as a record: what contradicts itself is not one, and what they mean for the points of a report."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from benchmark.merging import MAX_LABEL, worst_case
from benchmark.report import MAX_POINTS, Points, canonical_json
from benchmark.verdicts import MAX_VERDICTS_BYTES, Verdict, Verdicts, largest_distance
from tests.benchmark.reports import MIXED, VERDICTS, points_of

EPSILON = 8 / 255
LIMIT = largest_distance(EPSILON)
FIELDS: dict[str, Any] = {
    "norm": "Linf",
    "epsilon": "8/255",
    "dataset": "digits",
    "checkpoint_sha256": "c" * 64,
    "examples_sha256": "e" * 64,
    "index": (3, 4, 7, 8, 20),
    "verdict": ("holds", "not_finite", "outside_box", "over_budget", "classified_correctly"),
    "distance": (LIMIT, None, 1e9, math.nextafter(LIMIT, 1), 0.0),
    "slot_width": 64,
    "threads": 1,
    "device": "cpu",
    "hardware": "a CPU",
    "versions": {"torch": "1"},
}


def verdicts_of(**changes: Any) -> Verdicts:
    return Verdicts(**(FIELDS | changes))


def test_verdicts_are_counted_and_tell_what_is_broken() -> None:
    found = verdicts_of(verdict=("holds", "not_finite", "holds", "over_budget", "classified_correctly"),
                        distance=(0.0, None, LIMIT, 1.0, 0.0))  # fmt: skip
    assert found.counts == {
        Verdict.HOLDS: 2,
        Verdict.NOT_FINITE: 1,
        Verdict.OUTSIDE_BOX: 0,
        Verdict.OVER_BUDGET: 1,
        Verdict.CLASSIFIED_CORRECTLY: 1,
    }
    assert list(found.counts) == list(Verdict)
    assert found.broken == (3, 7)


def test_bytes_are_canonical_and_round_trip() -> None:
    found = verdicts_of()
    data = found.to_bytes()
    assert Verdicts.from_bytes(data) == found
    assert data == canonical_json(json.loads(data))
    assert json.loads(data)["schema_version"] == 1
    assert Verdicts.from_bytes(data).to_bytes() == data


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"index": ()}, "one value per point"),
        ({"index": (), "verdict": (), "distance": ()}, "one value per point"),
        ({"verdict": ("holds",) * 4}, "one value per point"),
        ({"distance": (0.0,) * 6}, "one value per point"),
        ({"index": (3, 4, 4, 8, 20)}, "increase strictly"),
        ({"index": (4, 3, 7, 8, 20)}, "increase strictly"),
        ({"index": (-1, 4, 7, 8, 20)}, "index"),
        ({"verdict": ("breaks", *FIELDS["verdict"][1:])}, "verdict"),
        # Every verdict beside a distance that another verdict goes with.
        ({"distance": (None, *FIELDS["distance"][1:])}, "contradicts"),
        ({"distance": (math.nextafter(LIMIT, 1), *FIELDS["distance"][1:])}, "contradicts"),
        ({"distance": (*FIELDS["distance"][:1], 0.0, *FIELDS["distance"][2:])}, "contradicts"),
        ({"distance": (*FIELDS["distance"][:2], None, *FIELDS["distance"][3:])}, "contradicts"),
        ({"distance": (*FIELDS["distance"][:3], LIMIT, 0.0)}, "contradicts"),
        ({"distance": (*FIELDS["distance"][:3], None, 0.0)}, "contradicts"),
        ({"distance": (*FIELDS["distance"][:4], 1.0)}, "contradicts"),
        ({"distance": (*FIELDS["distance"][:4], None)}, "contradicts"),
        ({"distance": (*FIELDS["distance"][:4], -1e-9)}, "distance"),
        ({"distance": (*FIELDS["distance"][:2], math.inf, *FIELDS["distance"][3:])}, "distance"),
        ({"distance": (*FIELDS["distance"][:2], math.nan, *FIELDS["distance"][3:])}, "distance"),
        ({"norm": "L0"}, "norm"),
        ({"epsilon": "0"}, "epsilon"),
        ({"epsilon": "-8/255"}, "epsilon"),
        ({"epsilon": "1/0"}, "epsilon"),
        ({"epsilon": "1e400"}, "epsilon"),
        ({"epsilon": "16/510"}, "must be written as 8/255"),
        ({"epsilon": "a lot"}, "epsilon"),
        ({"examples_sha256": "E" * 64}, "examples_sha256"),
        ({"examples_sha256": None}, "examples_sha256"),
        ({"checkpoint_sha256": "c"}, "checkpoint_sha256"),
        ({"schema_version": 2}, "schema_version"),
        ({"hardware": "x" * 2_001}, "hardware"),
        ({"slot_width": -1}, "slot_width"),
        ({"notes": ""}, "notes"),
    ],
)
def test_what_contradicts_itself_is_no_record(changes: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        verdicts_of(**changes)
    # What JSON lacks never gets so far as to be written.
    values = [value for column in changes.values() if isinstance(column, tuple) for value in column]
    if all(math.isfinite(value) for value in values if isinstance(value, float)):
        with pytest.raises(ValueError, match=word):
            Verdicts.from_bytes(canonical_json(json.loads(json.dumps(FIELDS | changes))))


def test_too_many_points_or_bytes_are_refused() -> None:
    many = MAX_POINTS + 1
    with pytest.raises(ValidationError, match="one value per point"):
        verdicts_of(index=tuple(range(many)), verdict=("outside_box",) * many, distance=(0.0,) * many)
    with pytest.raises(ValueError, match="bytes"):
        Verdicts.from_bytes(bytes(MAX_VERDICTS_BYTES + 1))


@given(data=st.data())
def test_a_changed_record_is_refused_or_consistent(data: st.DataObject) -> None:
    content = bytearray(verdicts_of().to_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content)))
        end = place + data.draw(st.integers(0, 2))
        content[place:end] = data.draw(st.binary(max_size=2) | st.sampled_from((b"0", b"9", b"null", b"[", b"1e400")))
    try:
        found = Verdicts.from_bytes(bytes(content))
    except ValueError:
        return
    assert Verdicts.from_bytes(found.to_bytes()) == found
    assert len(found.index) == len(found.verdict) == sum(found.counts.values())


@pytest.mark.parametrize("content", [b"", b"null", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"index":' + b"9" * 9_999])
def test_what_is_no_record_at_all_is_a_value_error(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"Verdicts"):
        Verdicts.from_bytes(content)


def test_only_robust_points_change_and_say_by_what() -> None:
    points = points_of(MIXED, first=100)
    found = worst_case(points, {100: ("external: A", 0.03), 101: ("external: A", 0.01), 104: ("external: A", 0.02)})
    changed = [row for row, by in enumerate(found.broken_by) if by != points.broken_by[row]]
    assert changed == [0]
    assert (found.robust[0], found.broken_by[0], found.step[0], found.distance[0]) == (False, "external: A", None, 0.03)
    for column in ("robust", "broken_by", "step", "distance"):
        assert getattr(found, column)[1:] == getattr(points, column)[1:]
    assert (found.index, found.label) == (points.index, points.label)
    assert Points.from_bytes(found.to_bytes()) == found


@pytest.mark.parametrize(
    ("broken", "word"),
    [
        ({9: ("a", 0.1), 99: ("a", 0.1)}, "there is no point 99"),
        ({-1: ("a", 0.1)}, "there is no point -1"),
        ({0: ("", 0.1)}, "point 0"),
        ({0: ("a" * (MAX_LABEL + 1), 0.1)}, "point 0"),
        ({0: ("clean", 0.1)}, "clean"),
        ({0: ("a", math.nan)}, "distance"),
        ({0: ("a", math.inf)}, "distance"),
        ({1: ("a", -0.1)}, "point 1"),
    ],
)
def test_broken_points_that_cannot_be_are_refused(broken: dict[int, tuple[str, float]], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        worst_case(points_of(MIXED), broken)


NAMES = ("external: A", "apgd-ce", "ε" * MAX_LABEL)
BROKEN = st.dictionaries(st.integers(0, 9), st.tuples(st.sampled_from(NAMES), st.floats(0, 1)))


@given(verdicts=st.lists(st.sampled_from(VERDICTS), min_size=10, max_size=10), one=BROKEN, other=BROKEN)
def test_the_worst_case_of_several_evaluations(
    verdicts: list[str | None], one: dict[int, tuple[str, float]], other: dict[int, tuple[str, float]]
) -> None:
    points = points_of(verdicts)
    found = worst_case(points, one)
    assert worst_case(found, one) == found
    assert worst_case(found, other).robust == worst_case(worst_case(points, other), one).robust
    assert [index for index in found.index if points.robust[index] and not found.robust[index]] == [
        index for index in points.index if points.robust[index] and index in one
    ]
    assert sum(worst_case(found, other).robust) <= sum(found.robust) <= sum(points.robust)
    assert worst_case(points, {}) == points
    # Whatever was broken before is on record as it was; the standard accuracy stays.
    kept = [row for row, robust in enumerate(points.robust) if not robust]
    assert [found.broken_by[row] for row in kept] == [points.broken_by[row] for row in kept]
    assert found.broken_by.count("clean") == points.broken_by.count("clean")
