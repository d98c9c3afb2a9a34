"""The comparison of networks with their files: what it measures, and what it calls a failure."""

from __future__ import annotations

import dataclasses

import pytest

from bench.families import FAMILIES
from bench.formats import MOST, TIMED, TOLERANCE, Comparison, compare, failures, page

FOUND = Comparison(
    name=TIMED,
    size=64,
    operations=70,
    megabytes=44.8,
    logits=0.0,
    gradients=0.0,
    export_s=2.0,
    load_s=0.1,
    eager_ms=100.0,
    ours_ms=110.0,
)


def test_a_family_is_measured_and_equal() -> None:
    (family,) = (family for family in FAMILIES if family.name == TIMED)
    found = compare(family, 2, 1, small=True)
    assert found.is_equal
    assert found.operations > 20
    assert min(found.megabytes, found.export_s, found.load_s, found.eager_ms, found.ours_ms) > 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, []),
        ({"ours_ms": 99.0 * MOST}, []),
        ({"ours_ms": 101.0 * MOST}, ["takes 1.31 times"]),
        ({"name": "another", "ours_ms": 101.0 * MOST}, []),
        ({"logits": 0.9 * TOLERANCE}, []),
        ({"gradients": 1.1 * TOLERANCE}, ["differs by 1.1e-05"]),
        ({"logits": float("nan")}, ["differs by nan"]),
        ({"gradients": float("nan")}, ["differs by"]),
    ],
)
def test_what_is_not_as_it_must_be_is_told(change: dict[str, float], said: list[str]) -> None:
    found = failures([dataclasses.replace(FOUND, **change)])  # type: ignore[arg-type]  # the name among numbers
    assert len(found) == len(said)
    assert all(part in line for part, line in zip(said, found, strict=True))


def test_the_page_says_what_is_bit_identical_and_what_was_missed() -> None:
    text = page([FOUND, dataclasses.replace(FOUND, name="Other", logits=1e-3)], rows=8, rounds=9)
    assert "1 of 2 families are bit-identical, logits and gradients; not so: Other." in text
    assert "- Missed: Other: its file differs by 1.0e-03." in text
    assert "| ResNet-18 | 64×64 | 70 | 44.8 | 0 | 0 | 100.0 | 110.0 | 1.10 | 2.0 | 0.10 |" in text
    assert all(len(line) <= 120 for line in text.splitlines() if not line.startswith("|"))
