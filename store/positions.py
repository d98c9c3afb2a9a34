"""Positions of points in a data set as people write them, such as "0, 3, 10-19"."""

from __future__ import annotations

import re
from collections.abc import Sequence

from benchmark.errors import InvalidSubmission
from benchmark.threat_models import BOARDS

MOST_POINTS = max(board.points for board in BOARDS)
"""More than this many no board has: a few characters can name any number of them."""
_PARTING = re.compile(r"[,\s]+")
_PART = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")


def read_positions(text: str) -> tuple[int, ...]:
    """Read positions that are parted by commas or blanks, and ranges of them with both their ends.

    They keep their order: the examples of a file have it too, so it is not for us to change.

    Raises:
        InvalidSubmission: something else is there, or more than any board has.
    """
    positions: list[int] = []
    for part in filter(None, _PARTING.split(text)):
        found = _PART.fullmatch(part)
        first = int(found[1]) if found else 0
        last = int(found[2] or found[1]) if found else -1
        if last < first:
            raise _invalid(ascii(part[:40]), 'positions such as 7, or ranges such as "10-19"')
        if len(positions) + last - first >= MOST_POINTS:
            raise _invalid(f"more than {MOST_POINTS} positions", "positions of a board's points")
        positions.extend(range(first, last + 1))
    return tuple(positions)


def write_positions(positions: Sequence[int], most: int | None = None) -> str:
    """Write increasing positions so that `read_positions` reads them, neighbours as a range.

    Args:
        positions: what is written.
        most: most single positions and ranges; what comes after them is an ellipsis.
    """
    ranges: list[tuple[int, int]] = []
    for position in positions:
        if ranges and position == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], position)
        else:
            ranges.append((position, position))
    parts = [str(first) if first == last else f"{first}-{last}" for first, last in ranges[:most]]
    return ", ".join(parts if len(parts) == len(ranges) else [*parts, "…"])


def _invalid(found: str, expected: str) -> InvalidSubmission:
    return InvalidSubmission.because(
        "points", found=found, expected=expected, remedy='part them by commas or blanks, as in "0, 3, 10-19"'
    )
