"""How a board came to where it stands: its best value over time, where its entries appeared, and what they claimed.

Only what the board ranks counts: no withdrawn and no unverified entries, and none of an old protocol.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime
from enum import StrEnum
from itertools import groupby
from statistics import median
from typing import Self

from pydantic import Field
from sqlalchemy import select

from benchmark.threat_models import Board, official_board
from store.board_filters import flagged, ranked
from store.database import Database, database_now_ms
from store.tables import EntryRow
from store.venues import VenueKind, kind_of_venue, year_of_venue
from store.views import Badge, View

_DIGITS = 6
"""Behind the point, of differences: accuracies have as many, and a difference of floats has noise behind them."""


class Chart(StrEnum):
    """A part of what is told of a board's progress."""

    BEST_KNOWN = "best_known"
    VENUES = "venues"
    OVERESTIMATION = "overestimation"


class DatedEntry(View):
    """An entry at its date."""

    model_id: str
    badge: Badge
    flagged: bool = Field(description="Whether its number is in doubt")
    venue: str
    year: int = Field(description="The venue's year, or else that of the publication here")
    day: date | None = Field(description="Of its publication here, in UTC; null where the date is a venue's year")
    best_known_robust_accuracy: float
    best_so_far: float = Field(description="The best of all entries up to this date, those of the same date included")
    raised: bool = Field(description="Whether it is better than all entries of earlier dates, and none of its own is")

    @property
    def at(self) -> date:
        """Where it stands in time: of a year nothing finer is known, so it counts as its middle."""
        return self.day or date(self.year, 7, 2)


class BestKnown(View):
    """The best known robust accuracy over time; on boards of corruptions the accuracy on these."""

    entries: tuple[DatedEntry, ...] = Field(description="By date, of one date the best first")
    undated: int = Field(description="Entries that have a number and no date")
    unmeasured: int = Field(description="Entries that have no number")


class VenueCount(View):
    """How many entries of a year appeared at venues of one kind."""

    year: int
    venue: VenueKind
    entries: int


class Venues(View):
    """Where entries appeared, over the years."""

    counts: tuple[VenueCount, ...] = Field(description="By year, then in the order of the kinds")
    left_out: int = Field(description="Entries that name no venue with a year")


class ClaimedEntry(View):
    """An entry with what its authors claimed and what the board's attacks left."""

    model_id: str
    badge: Badge
    flagged: bool = Field(description="Whether its number is in doubt")
    claimed_robust_accuracy: float
    robust_accuracy: float = Field(description="Under AutoAttack or our protocol")
    overestimation: float = Field(description="Claimed minus robust accuracy")


class Overestimation(View):
    """By how much the claims exceed what was measured."""

    entries: tuple[ClaimedEntry, ...] = Field(description="The most overestimated first")
    median: float | None = Field(description="Of the overestimation; null where there is no claim")
    without_claim: int = Field(description="Entries without a claim or without a measured number")


class BoardProgress(View):
    """How a board came to where it stands; parts that are not asked for are null."""

    dataset: str
    threat_model: str
    title: str
    epsilon: str | None
    entries: int = Field(description="Entries that the board ranks")
    best_known: BestKnown | None
    venues: Venues | None
    overestimation: Overestimation | None = Field(description="Null too on boards of corruptions: nobody attacks there")

    @property
    def attacked(self) -> bool:
        """Whether the board has an attacker."""
        return self.epsilon is not None

    def only(self, chart: Chart) -> Self:
        """Return this part alone."""
        return self.model_copy(update={other.value: None for other in Chart if other is not chart})


class _Entry(View):
    model_id: str
    badge: Badge
    flagged: bool
    venue: str
    year: int | None
    """The venue's."""
    day: date | None
    """Of its publication here, where the venue tells no year."""
    best: float | None
    robust: float | None
    claimed: float | None


def get_progress(db: Database, dataset: str, threat_model: str) -> BoardProgress:
    """Return how a board came to where it stands, in two queries.

    Raises:
        NotFound: there is no such board.
    """
    board = official_board(dataset, threat_model)
    entries = _read(db, board)
    return BoardProgress(
        dataset=board.dataset,
        threat_model=board.threat_model,
        title=board.title,
        epsilon=None if board.epsilon is None else str(board.epsilon),
        entries=len(entries),
        best_known=_best_known(entries),
        venues=_venues(entries),
        overestimation=_overestimation(entries) if board.attacked else None,
    )


def _read(db: Database, board: Board) -> list[_Entry]:
    query = select(
        EntryRow.model_id,
        EntryRow.badge,
        flagged(EntryRow),
        EntryRow.venue,
        EntryRow.anonymous,
        EntryRow.published_ms,
        EntryRow.best_known_robust_accuracy,
        EntryRow.robust_accuracy,
        EntryRow.claimed_robust_accuracy,
    ).where(ranked(board))
    with db.snapshot() as session:
        # What is accepted this year may appear in the next; a later year is a slip, and would stretch the drawing.
        latest = _day(database_now_ms(session)).year + 1
        rows = session.execute(query).all()
    entries = []
    for model_id, badge, doubted, named, anonymous, published_ms, best, robust, claimed in rows:
        venue = "" if anonymous else named  # it would tell who made it
        year = year_of_venue(venue, latest)
        published = _day(published_ms) if badge == Badge.EVALUATED and published_ms is not None else None
        entries.append(
            _Entry(
                model_id=model_id,
                badge=Badge(badge),
                flagged=doubted,
                venue=venue,
                year=year,
                day=published if year is None else None,
                best=best,
                robust=robust,
                claimed=claimed,
            )
        )
    return entries


def _best_known(entries: Sequence[_Entry]) -> BestKnown:
    dated = [
        DatedEntry(
            model_id=entry.model_id,
            badge=entry.badge,
            flagged=entry.flagged,
            venue=entry.venue,
            year=entry.day.year if entry.day else entry.year or 0,
            day=entry.day,
            best_known_robust_accuracy=entry.best,
            best_so_far=entry.best,
            raised=False,
        )
        for entry in entries
        if entry.best is not None and (entry.day or entry.year)
    ]
    dated.sort(key=lambda entry: (entry.at, -entry.best_known_robust_accuracy, entry.model_id))
    unmeasured = sum(entry.best is None for entry in entries)
    return BestKnown(
        entries=tuple(_with_best_so_far(dated)),
        undated=len(entries) - len(dated) - unmeasured,
        unmeasured=unmeasured,
    )


def _with_best_so_far(dated: Sequence[DatedEntry]) -> list[DatedEntry]:
    """Return the entries with the running best; which of one date came first is not known, so they come together."""
    found: list[DatedEntry] = []
    best = -1.0
    for _, together in groupby(dated, key=lambda entry: entry.at):
        group = list(together)
        before, best = best, max(best, group[0].best_known_robust_accuracy)
        found += [
            entry.model_copy(update={"best_so_far": best, "raised": before < best == entry.best_known_robust_accuracy})
            for entry in group
        ]
    return found


def _venues(entries: Sequence[_Entry]) -> Venues:
    counts = Counter((entry.year, kind_of_venue(entry.venue)) for entry in entries if entry.year is not None)
    kinds = list(VenueKind)
    return Venues(
        counts=tuple(
            VenueCount(year=year, venue=kind, entries=counts[year, kind])
            for year, kind in sorted(counts, key=lambda key: (key[0], kinds.index(key[1])))
        ),
        left_out=sum(entry.year is None for entry in entries),
    )


def _overestimation(entries: Sequence[_Entry]) -> Overestimation:
    claimed = [
        ClaimedEntry(
            model_id=entry.model_id,
            badge=entry.badge,
            flagged=entry.flagged,
            claimed_robust_accuracy=entry.claimed,
            robust_accuracy=entry.robust,
            overestimation=round(entry.claimed - entry.robust, _DIGITS),
        )
        for entry in entries
        if entry.claimed is not None and entry.robust is not None
    ]
    claimed.sort(key=lambda entry: (-entry.overestimation, entry.model_id))
    return Overestimation(
        entries=tuple(claimed),
        median=round(median(entry.overestimation for entry in claimed), _DIGITS) if claimed else None,
        without_claim=len(entries) - len(claimed),
    )


def _day(at_ms: int) -> date:
    return datetime.fromtimestamp(at_ms / 1000, UTC).date()
