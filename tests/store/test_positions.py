"""Positions of points, read from what people write and written back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.errors import InvalidSubmission
from store.positions import MOST_POINTS, read_positions, write_positions


@pytest.mark.parametrize(
    ("text", "positions"),
    [
        ("", ()),
        (" \n", ()),
        ("7", (7,)),
        ("0, 3,10-12", (0, 3, 10, 11, 12)),
        ("1 2\t3\r\n4,\n,5,", (1, 2, 3, 4, 5)),
        ("5-5 007", (5, 7)),
        ("9 3 3", (9, 3, 3)),
    ],
)
def test_reads_positions_and_ranges_in_their_order(text: str, positions: tuple[int, ...]) -> None:
    assert read_positions(text) == positions


@pytest.mark.parametrize(
    "text",
    ["x", "-1", "1-", "3-2", "1.5", "1;2", "1 - 3", "0x10", "१", "1-2-3", "1" * 10, "<script>", "0-999999999", "\0"],
)
def test_refuses_what_is_no_position(text: str) -> None:
    with pytest.raises(InvalidSubmission) as caught:
        read_positions(f"1, {text}")
    assert caught.value.detail is not None
    assert caught.value.detail.field == "points"


def test_reads_as_many_as_the_largest_board_has_and_no_more() -> None:
    assert len(read_positions(f"0-{MOST_POINTS - 1}")) == MOST_POINTS
    for text in (f"0-{MOST_POINTS}", f"0-{MOST_POINTS - 1} 5", f"5,0-{MOST_POINTS - 1}"):
        with pytest.raises(InvalidSubmission, match="more than"):
            read_positions(text)


@given(st.lists(st.integers(0, 60), max_size=30, unique=True).map(sorted), st.integers(0, 5))
def test_writes_what_it_reads(positions: list[int], most: int) -> None:
    text = write_positions(positions)
    assert read_positions(text) == tuple(positions)
    short = write_positions(positions, most)
    assert short == text or short.removesuffix("…").rstrip(", ") == ", ".join(text.split(", ")[:most])


def test_writes_neighbours_as_a_range() -> None:
    assert write_positions((0, 1, 2, 4, 6, 7)) == "0-2, 4, 6-7"
    assert write_positions((0, 1, 2, 4, 6, 7), most=2) == "0-2, 4, …"
    assert write_positions(()) == ""
