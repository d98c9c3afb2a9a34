"""How a leaderboard came to where it stands."""

from __future__ import annotations

from typing import ClassVar

from fastapi import APIRouter, Request, Response

from store.progress import BoardProgress, Chart, ClaimedEntry, DatedEntry, VenueCount, get_progress
from store.rendered import standing_of
from store.services import Services
from store.venues import VenueKind
from store.views import MOST_ROWS
from web.progress_charts import (
    BestByDate,
    ClaimsChart,
    VenueBars,
    best_by_date,
    claims_chart,
    date_name,
    venue_bars,
)
from web.rendering import Page, as_html, render, respond
from web.services import Store, Who

router = APIRouter()


class ProgressPage(Page):
    """The three charts of a board, each with its numbers."""

    template: ClassVar[str] = "progress.html"
    section: ClassVar[str] = "boards"

    progress: BoardProgress
    best: BestByDate | None
    """None where too few entries have a date."""
    bars: VenueBars | None
    """None where too few entries name a venue."""
    claims: ClaimsChart | None
    """None where too few entries have a claim, and on boards of corruptions."""

    @property
    def dated(self) -> tuple[DatedEntry, ...]:
        """The entries by date."""
        return self.progress.best_known.entries if self.progress.best_known else ()

    @property
    def claimed(self) -> tuple[ClaimedEntry, ...]:
        """The entries with a claim."""
        return self.progress.overestimation.entries if self.progress.overestimation else ()

    @property
    def counts(self) -> tuple[VenueCount, ...]:
        """The numbers of entries by year and kind of venue."""
        return self.progress.venues.counts if self.progress.venues else ()

    @property
    def raised(self) -> tuple[DatedEntry, ...]:
        """The entries that raised the best, one of each date."""
        return tuple({entry.at: entry for entry in reversed(self.dated) if entry.raised}.values())[::-1]

    @property
    def years(self) -> tuple[int, ...]:
        """The years of the venues."""
        return tuple(dict.fromkeys(count.year for count in self.counts))

    @property
    def kinds(self) -> tuple[VenueKind, ...]:
        """The kinds of venue that occur."""
        return tuple(kind for kind in VenueKind if any(count.venue is kind for count in self.counts))

    def number(self, year: int | None, kind: VenueKind | None) -> int:
        """Return how many entries appeared in a year at venues of a kind; None for all of them."""
        return sum(c.entries for c in self.counts if year in {None, c.year} and kind in {None, c.venue})

    def date_of(self, entry: DatedEntry) -> str:
        """Write an entry's date as exactly as it is known."""
        return date_name(entry)

    def written_as(self, chart: str, format_name: str) -> str:
        """Return the address of a chart's numbers."""
        place = f"{self.progress.dataset}/{self.progress.threat_model}"
        return f"/api/v1/leaderboards/{place}/progress?chart={Chart(chart)}&format={format_name}"

    @property
    def most_rows(self) -> int:
        """Most rows of a table."""
        return MOST_ROWS


def progress_page(services: Services, dataset: str, threat_model: str) -> ProgressPage:
    """Return what the page of a board's progress shows.

    Raises:
        NotFound: there is no such board.
    """
    progress = get_progress(services.db, dataset, threat_model)
    best, venues, claims = progress.best_known, progress.venues, progress.overestimation
    return ProgressPage(
        title=f"Progress on {progress.title}",
        progress=progress,
        best=best_by_date(dataset, threat_model, best) if best else None,
        bars=venue_bars(venues) if venues else None,
        claims=claims_chart(dataset, threat_model, claims) if claims else None,
    )


@router.get("/boards/{dataset}/{threat_model}/progress")
def show_progress(request: Request, dataset: str, threat_model: str, store: Store, who: Who) -> Response:
    """Show how a leaderboard came to where it stands; where nothing has changed, as it was rendered before."""
    if who.account_id is not None:
        return render(request, progress_page(store, dataset, threat_model))
    standing = standing_of(store.db, dataset, threat_model)

    def make() -> bytes:
        return as_html(progress_page(store, dataset, threat_model)).encode()

    return respond(request, store.rendered.get(("page of progress", dataset, threat_model), standing, make))
