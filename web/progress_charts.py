"""The numbers behind the charts of a board's progress; templates only draw them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date

from store.progress import BestKnown, DatedEntry, Overestimation, Venues
from store.venues import VenueKind
from store.views import Badge
from web.charts import Part, Tick
from web.formats import difference, percent
from web.progress_axes import Accuracies, Column, Counts, Frame, Times, day_name
from web.rendering import model_address

FEWEST = 3
"""Entries that a chart needs to say something."""
_WIDTH, _LEFT, _RIGHT, _TOP = 720, 52, 708, 40
_MOST_MARKS = 2_000  # that are all drawn; of more, those that do not lie on another
_MARK = 10
_MOST_STEMS = 150
_LOWEST_LABEL, _NARROWEST_LABEL = 24, 30  # of a piece of a bar that has room for its number, also on a phone
_WIDEST_BAR = 56
_GAP = 1.5
_DATES = {
    frozenset({True}): "Year of the venue",
    frozenset({False}): "Day of publication here",
    frozenset({True, False}): "Venue’s year, or day of publication here",
}


class EntryMark(Part):
    """An entry in a chart."""

    x: float
    y: float
    badge: Badge
    hollow: bool
    raised: bool
    address: str
    label: str


class BestByDate(Part):
    """Entries by date, and the line of the best so far."""

    frame: Frame
    columns: tuple[Column, ...]
    x_name: str
    """What the dates are."""
    by_year: bool
    """Whether of some entries only the year is known; these give way to each other within it."""
    y_ticks: tuple[Tick, ...]
    marks: tuple[EntryMark, ...]
    line: str
    entries: int
    """How many have a date; where they are very many, some marks are left out."""


class Segment(Part):
    """The entries of a year at venues of one kind: a piece of a bar."""

    kind: VenueKind
    x: float
    y: float
    width: float
    height: float
    number: int
    labelled: bool
    """Whether it has room for its number."""


class VenueBars(Part):
    """Numbers of entries by year, each bar parted by the kinds of venue."""

    frame: Frame
    columns: tuple[Column, ...]
    y_ticks: tuple[Tick, ...]
    segments: tuple[Segment, ...]
    kinds: tuple[VenueKind, ...]
    """Those that occur, for the legend."""


class ClaimsChart(Part):
    """What claims exceed the measured numbers by, the greatest difference first."""

    frame: Frame
    y_ticks: tuple[Tick, ...]
    zero: float
    median: float
    marks: tuple[EntryMark, ...]
    stems: str
    """Path from zero to each mark; empty where they are too many to tell apart."""
    entries: int


def date_name(entry: DatedEntry) -> str:
    """Write an entry's date as exactly as it is known."""
    return day_name(entry.day) if entry.day else str(entry.year)


def best_by_date(dataset: str, threat_model: str, best: BestKnown) -> BestByDate | None:
    """Return the entries by date; None where they are too few to draw."""
    entries = best.entries
    if len(entries) < FEWEST:
        return None
    frame = _frame(420)
    kinds_of_date = frozenset(entry.day is None for entry in entries)
    times = Times([entry.at for entry in entries], frame, by_year=True in kinds_of_date)
    values = Accuracies([entry.best_known_robust_accuracy for entry in entries], frame)
    # Those that the line goes through come first, so that they stay where the line is, and are drawn last.
    in_turn = sorted(entries, key=lambda entry: not entry.raised)
    marks = [
        EntryMark(
            x=x,
            y=y,
            badge=entry.badge,
            hollow=entry.flagged,
            raised=entry.raised,
            address=model_address(dataset, threat_model, entry.model_id),
            label=f"{entry.model_id}: {percent(entry.best_known_robust_accuracy, unit=True)}, {date_name(entry)}",
        )
        for entry, x, y in _side_by_side(in_turn, times, values)
    ]
    return BestByDate(
        frame=frame,
        columns=times.columns(),
        x_name=_DATES[kinds_of_date],
        by_year=True in kinds_of_date,
        y_ticks=values.ticks(),
        marks=tuple(reversed(marks)),
        line=_steps(entries, times, values, frame),
        entries=len(entries),
    )


def venue_bars(venues: Venues) -> VenueBars | None:
    """Return the numbers of entries by year and kind of venue; None where they are too few to draw."""
    totals: dict[int, int] = {}
    for count in venues.counts:
        totals[count.year] = totals.get(count.year, 0) + count.entries
    if sum(totals.values()) < FEWEST:
        return None
    frame = _frame(340)
    times = Times([date(year, 1, 1) for year in totals], frame, by_year=True)
    heights = Counts(max(totals.values()), frame)
    width = round(min(_WIDEST_BAR, times.column_width * 0.8), 1)
    segments, below = [], dict.fromkeys(totals, 0)
    for count in venues.counts:
        bottom = heights.place(below[count.year])
        below[count.year] += count.entries
        top = heights.place(below[count.year])
        height = round(max(bottom - top - _GAP, 0.5), 1)
        segments.append(
            Segment(
                kind=count.venue,
                x=round(times.place(date(count.year, 7, 2)) - width / 2, 1),
                y=top,
                width=width,
                height=height,
                number=count.entries,
                labelled=height >= _LOWEST_LABEL and width >= _NARROWEST_LABEL,
            )
        )
    return VenueBars(
        frame=frame,
        columns=times.columns(),
        y_ticks=heights.ticks(),
        segments=tuple(segments),
        kinds=tuple(kind for kind in VenueKind if any(segment.kind is kind for segment in segments)),
    )


def claims_chart(dataset: str, threat_model: str, claims: Overestimation) -> ClaimsChart | None:
    """Return what claims exceed the measured numbers by; None where they are too few to draw."""
    entries = claims.entries
    if claims.median is None or len(entries) < FEWEST:
        return None
    frame = _frame(360)
    values = Accuracies([0.0, *(entry.overestimation for entry in entries)], frame, signed=True)
    step = (frame.right - frame.left) / len(entries)
    zero = values.place(0)
    marks = [
        EntryMark(
            x=round(frame.left + (i + 0.5) * step, 1),
            y=values.place(entry.overestimation),
            badge=entry.badge,
            hollow=entry.flagged,
            raised=False,
            address=model_address(dataset, threat_model, entry.model_id),
            label=f"{entry.model_id}: claimed {percent(entry.claimed_robust_accuracy)}, "
            f"measured {percent(entry.robust_accuracy)}, difference {difference(entry.overestimation)}",
        )
        for i, entry in enumerate(entries)
    ]
    drawn = marks if len(marks) <= _MOST_MARKS else list({(m.x // _MARK, m.y // _MARK): m for m in marks}.values())
    stems = "".join(f"M{mark.x:g} {zero:g}V{mark.y:g}" for mark in marks) if len(marks) <= _MOST_STEMS else ""
    return ClaimsChart(
        frame=frame,
        y_ticks=values.ticks(),
        zero=zero,
        median=values.place(claims.median),
        marks=tuple(drawn),
        stems=stems,
        entries=len(entries),
    )


def _frame(height: int) -> Frame:
    return Frame(width=_WIDTH, height=height, left=_LEFT, right=_RIGHT, top=_TOP, bottom=height - 54)


def _steps(entries: Sequence[DatedEntry], times: Times, values: Accuracies, frame: Frame) -> str:
    """Return the path of the best so far, up to the end of the time that is shown."""
    raised = {entry.at: entry.best_so_far for entry in entries if entry.raised}
    places = [(times.place(at), values.place(best)) for at, best in raised.items()]
    first, *others = places
    return "".join([f"M{first[0]:g} {first[1]:g}", *(f"H{x:g}V{y:g}" for x, y in others), f"H{frame.right}"])


def _side_by_side(
    entries: Sequence[DatedEntry], times: Times, values: Accuracies
) -> Iterator[tuple[DatedEntry, float, float]]:
    """Yield the places of entries; those of which only the year is known give way to others, within their year."""
    taken: dict[tuple[int, int], list[tuple[float, float]]] = {}
    crowded: set[tuple[float, float]] = set()
    for entry in entries:
        y, middle = values.place(entry.best_known_robust_accuracy), times.place(entry.at)
        room = 0 if entry.day else int((times.column_width - _MARK) / 2)
        shifts = [0, *(sign * shift for shift in range(_MARK, room + 1, _MARK) for sign in (1, -1))]
        free = (middle + shift for shift in shifts if not _is_taken(taken, middle + shift, y))
        place = None if (middle, y) in crowded else next(free, None)
        if place is None:
            crowded.add((middle, y))
            if len(entries) > _MOST_MARKS:
                continue
        x = round(middle if place is None else place, 1)
        taken.setdefault((int(x // _MARK), int(y // _MARK)), []).append((x, y))
        yield entry, x, y


def _is_taken(taken: dict[tuple[int, int], list[tuple[float, float]]], x: float, y: float) -> bool:
    column, row = int(x // _MARK), int(y // _MARK)
    near = (taken.get((column + i, row + j), ()) for i in (-1, 0, 1) for j in (-1, 0, 1))
    return any(abs(x - other) < _MARK and abs(y - height) < _MARK for cell in near for other, height in cell)
