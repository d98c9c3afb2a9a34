"""Axes of the charts of a board's progress: accuracies, numbers of entries, and time."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from datetime import date, timedelta

from web.charts import Part, Tick
from web.formats import percent


class Frame(Part):
    """A drawing and the field of it that the data lie in."""

    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int


class Column(Part):
    """A stretch of the time axis."""

    start: float
    middle: float
    label: str
    """Empty where it would touch its neighbour's, or the end of the drawing."""


_MOST_STEPS = 8
_AIR = 0.1  # of a step, so that no mark lies on the frame
_ROOM_PER_CHARACTER = 16  # of a label, in the size that it has on a phone
_MOST_DAYS, _MOST_MONTHS = 31, 24


class Accuracies:
    """Maps accuracies, or differences of them, to heights; begins and ends on a line of the grid.

    Args:
        values: what has to have room.
        frame: the drawing.
        signed: whether they are differences.
    """

    def __init__(self, values: Sequence[float], frame: Frame, *, signed: bool = False) -> None:
        low, high = min(values), max(values)
        self._frame, self._signed = frame, signed
        self._lines = next((lines for lines in (100, 50, 20, 10) if (high - low) * lines <= _MOST_STEPS), 5)
        self._first = max(-self._lines if signed else 0, math.floor(low * self._lines - _AIR))
        self._last = min(self._lines, math.ceil(high * self._lines + _AIR))

    def place(self, value: float) -> float:
        """Return the height of a value in the drawing."""
        share = (value * self._lines - self._first) / (self._last - self._first)
        return round(self._frame.bottom - share * (self._frame.bottom - self._frame.top), 1)

    def ticks(self) -> tuple[Tick, ...]:
        """Return the lines of the grid."""
        return tuple(
            Tick(at=self.place(line / self._lines), label=self._label(line / self._lines))
            for line in range(self._first, self._last + 1)
        )

    def _label(self, value: float) -> str:
        number = percent(abs(value), digits=0)
        sign = "" if not self._signed or number == "0" else "−" if value < 0 else "+"
        return f"{sign}{number}"


class Counts:
    """Maps numbers of entries to heights, from none to the most that have to have room."""

    def __init__(self, most: int, frame: Frame) -> None:
        self._frame = frame
        steps = (digit * int(10**power) for power in range(10) for digit in (1, 2, 5))
        self._step = next(step for step in steps if most <= step * _MOST_STEPS)
        self._top = math.ceil(most / self._step) * self._step

    def place(self, count: int) -> float:
        """Return the height of a number in the drawing."""
        return round(self._frame.bottom - count / self._top * (self._frame.bottom - self._frame.top), 1)

    def ticks(self) -> tuple[Tick, ...]:
        """Return the lines of the grid."""
        return tuple(Tick(at=self.place(at), label=str(at)) for at in range(0, self._top + 1, self._step))


class Times:
    """Maps days to places from left to right, in columns of one year, month or day each.

    Args:
        days: what has to have room.
        frame: the drawing.
        by_year: whether of some only the year is known, so that nothing finer may be told apart.
    """

    def __init__(self, days: Sequence[date], frame: Frame, *, by_year: bool) -> None:
        first, last = min(days), max(days)
        self._frame = frame
        months = (last.year - first.year) * 12 + last.month - first.month
        if by_year or months >= _MOST_MONTHS:
            starts = [date(year, 1, 1) for year in range(first.year, last.year + 2)]
            self._labels = [str(start.year) for start in starts]
        elif (last - first).days >= _MOST_DAYS:
            starts = [_month(first.year * 12 + first.month - 1 + month) for month in range(months + 2)]
            self._labels = [f"{start:%b %Y}" for start in starts]
        else:
            starts = [first + timedelta(days=day) for day in range((last - first).days + 2)]
            self._labels = [day_name(start) for start in starts]
        self._starts = starts
        self.column_width = (frame.right - frame.left) / (len(starts) - 1)

    def place(self, day: date) -> float:
        """Return the place of the middle of a day in the drawing."""
        column = bisect_right(self._starts, day) - 1
        start, end = self._starts[column], self._starts[column + 1]
        share = ((day - start).days + 0.5) / (end - start).days
        return round(self._frame.left + (column + share) * self.column_width, 1)

    def columns(self) -> tuple[Column, ...]:
        """Return the columns, with as many labels as have room."""
        room = _ROOM_PER_CHARACTER * max(map(len, self._labels))
        every = math.ceil(room / self.column_width)
        middles = [self._frame.left + (column + 0.5) * self.column_width for column in range(len(self._starts) - 1)]
        return tuple(
            Column(
                start=round(middle - self.column_width / 2, 1),
                middle=round(middle, 1),
                label=self._labels[column] if column % every == 0 and middle + room / 2 <= self._frame.width else "",
            )
            for column, middle in enumerate(middles)
        )


def day_name(day: date) -> str:
    """Write a day for people."""
    return f"{day.day} {day:%b %Y}"


def _month(number: int) -> date:
    return date(number // 12, number % 12 + 1, 1)
