"""The page of a board's progress: its exact context, its charts, and the numbers beneath them."""

from __future__ import annotations

import itertools
import re
from datetime import UTC, date, datetime

import pytest

from benchmark.threat_models import BOARDS, RANKING_PROTOCOL
from store.progress import BestKnown, ClaimedEntry, DatedEntry, Overestimation, VenueCount, Venues, get_progress
from store.venues import VenueKind
from store.views import MOST_ROWS, Badge
from tests.running import Running
from tests.store.material import board_entry, fill_board
from tests.web.html import PageReader, read_page
from tests.web.material import HOSTILE, publish, questions
from web.formats import difference
from web.pages.progress import ProgressPage, progress_page
from web.progress_axes import Accuracies, Counts, Frame, Times
from web.progress_charts import best_by_date, claims_chart, venue_bars
from web.rendering import as_html

FRAME = Frame(width=720, height=420, left=52, right=708, top=40, bottom=366)


def entry(model_id: str, year: int, best: float, day: date | None = None, *, raised: bool = False) -> DatedEntry:
    return DatedEntry(
        model_id=model_id,
        badge=Badge.EVALUATED if day else Badge.REPORTED,
        flagged=False,
        venue="",
        year=year,
        day=day,
        best_known_robust_accuracy=best,
        best_so_far=best,
        raised=raised,
    )


def best(*entries: DatedEntry) -> BestKnown:
    return BestKnown(entries=entries, undated=0, unmeasured=0)


def shown(service: Running, board: str) -> PageReader:
    return read_page(service.http.get(f"/boards/{board}/progress").text)


def drawings(page: PageReader) -> list[str]:
    return [found["aria-labelledby"] for found in page.find("svg") if "role" in found]


def test_the_page_shows_three_charts_and_their_numbers(service: Running) -> None:
    progress = get_progress(service.services.db, "cifar10", "Linf")
    assert progress.best_known
    assert progress.venues
    assert progress.overestimation
    assert progress_page(service.services, "cifar10", "Linf") == ProgressPage(
        title="Progress on CIFAR-10, Linf 8/255",
        progress=progress,
        best=best_by_date("cifar10", "Linf", progress.best_known),
        bars=venue_bars(progress.venues),
        claims=claims_chart("cifar10", "Linf", progress.overestimation),
    )
    page = shown(service, "cifar10/Linf")
    assert drawings(page) == ["best-title", "venues-title", "claims-title"]
    assert len(page.find("details")) == len(page.find("caption")) == 3
    marked = {found["href"] for found in page.find("a", class_="point") + page.find("a", class_="point hollow")}
    named = {f"/models/cifar10/Linf/{one.model_id}" for one in progress.overestimation.entries}
    assert marked == named
    assert len(page.find("circle", class_="ring")) == 6 + 1  # one of them in the legend
    patterns = {f"url(#{found['id']})" for found in page.find("pattern")}
    assert patterns == {found["fill"] for found in page.find("rect") if "fill" in found}
    assert len(patterns) == 6  # all kinds that occur but NeurIPS, which is filled, and arXiv, which is empty
    for text in (
        "From 44.04\u202f% in 2018 to 73.71\u202f% in 2024, in 5 steps.",
        "1 entry without a date is not drawn.",
        "1 entry that names no venue with a year is not drawn.",
        "the venue’s year, not that of the work",
        "Over 99 entries the median is 0.00; 37 claimed more than was measured, 13 less and 49 the same.",
    ):
        assert text in page.text
    for chart, form in itertools.product(("best_known", "venues", "overestimation"), ("csv", "json")):
        address = f"/api/v1/leaderboards/cifar10/Linf/progress?chart={chart}&format={form}"
        assert page.find("a", href=address)
        assert service.http.get(address).status_code == 200


def test_every_board_has_a_page_and_leads_to_it(service: Running) -> None:
    for board in BOARDS:
        page = shown(service, board.name)
        drawn = [] if board.evaluated_here else ["best-title", "venues-title", "claims-title"]
        assert drawings(page) == (drawn if board.attacked else drawn[:2]), board.name
        assert ("Overestimation" in page.text) == board.attacked
        address = f"/boards/{board.name}"
        assert read_page(service.http.get(address).text).find("a", href=f"{address}/progress")
        html = as_html(progress_page(service.services, board.dataset, board.threat_model))
        places = [float(number) for number in re.findall(r' (?:cx|x)="(-?[\d.]+)"', html)]
        assert all(0 <= place <= 720 for place in places), "nothing is drawn outside"


def test_a_board_of_too_few_says_so_and_lists_them(service: Running) -> None:
    page = shown(service, "digits/Linf")
    assert "No entry has a date so far;" in page.text
    assert "No entry names a venue with a year so far;" in page.text
    assert "No entry has a claim so far;" in page.text
    assert (drawings(page), page.find("table")) == ([], [])
    publish(service.services, "Method A", claimed_robust_accuracy=0.9, venue="ICLR 2026")
    page = shown(service, "digits/Linf")
    assert "Only 1 entry has a date so far;" in page.text
    assert "Only 1 entry names a venue with a year so far;" in page.text
    assert "Only 1 entry has a claim so far;" in page.text
    assert drawings(page) == []
    assert len(page.find("table")) == 3
    assert page.find("a", href="/models/digits/Linf/Method%20A")
    assert "The best of all, 88.00\u202f%, is of the earliest date, 2026." in page.text


def test_entries_evaluated_here_stand_at_the_day_of_their_publication_and_hostile_venues_stay_text(
    service: Running,
) -> None:
    for name in ("A", "B", "C"):
        publish(service.services, name)
    page = shown(service, "digits/Linf")
    today = datetime.now(UTC)
    assert f"{today.day} {today:%b %Y}" in page.text
    assert "Day of publication here" in page.text
    assert "side by side" not in page.text
    for name in ("D", "E", "F"):
        publish(service.services, name, venue=f"{HOSTILE} 2020", title=HOSTILE)
    text = service.http.get("/boards/digits/Linf/progress").text
    assert "\u202e" not in text
    assert "<script>alert(1)</script><b>" in read_page(text).text


def test_a_flagged_entry_is_hollow_and_the_legend_says_so(service: Running) -> None:
    flagged = board_entry("Flagged", 0.5)
    flagged.venue, flagged.findings = "ICLR 2020", '["zero_gradient"]'
    flagged.badge, flagged.protocol = Badge.EVALUATED, RANKING_PROTOCOL
    others = [board_entry(f"Method {i}", 0.4) for i in range(2)]
    for one in others:
        one.venue = "ICLR 2021"
    with service.services.db.transaction() as session:
        session.add_all([flagged, *others])
    page = shown(service, "digits/L2")
    assert page.find("a", class_="point hollow", href="/models/digits/L2/Flagged")
    assert "hollow: flagged" in page.text
    assert "reported" in page.text
    assert "evaluated here" in page.text


def test_the_page_asks_a_fixed_number_of_questions_and_is_kept(service: Running) -> None:
    counts = []
    for board in ("digits/L2", "cifar10/Linf"):
        with questions(service.services) as asked:
            progress_page(service.services, *board.split("/"))
        counts.append(len(asked))
    assert counts[0] == counts[1] <= 2
    first = service.http.get("/boards/digits/L2/progress")
    with questions(service.services) as asked:
        again = service.http.get("/boards/digits/L2/progress", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, len(asked)) == (304, 1)
    fill_board(service.services.db, 4)
    assert "4 entries without a date are not drawn." in shown(service, "digits/L2").text


def test_a_table_that_is_too_long_says_where_the_rest_is(service: Running) -> None:
    with service.services.db.transaction() as session:
        for i in range(MOST_ROWS + 5):
            one = board_entry(f"m{i}", i / 2_000)
            one.venue = "ICLR 2020"
            session.add(one)
    page = shown(service, "digits/L2")
    assert "The first 1\u202f000; the downloads have all." in page.text
    assert len(page.find("th", scope="row")) == MOST_ROWS + 2


def test_the_line_goes_through_what_it_names_and_marks_of_a_year_give_way() -> None:
    entries = [entry("a", 2019, 0.3, raised=True), entry("b", 2020, 0.5, raised=True)]
    entries += [entry(f"c{i}", 2020, 0.499) for i in range(4)]
    entries.append(entry("d", 2021, 0.6, date(2021, 12, 31), raised=True))
    plot = best_by_date("digits", "L2", best(*entries))
    assert plot is not None
    assert (plot.by_year, plot.x_name) == (True, "Venue’s year, or day of publication here")
    assert [column.label for column in plot.columns] == ["2019", "2020", "2021"]
    at = {mark.label.partition(":")[0]: mark for mark in plot.marks}
    assert at["a"].x == plot.columns[0].middle
    assert plot.columns[2].middle < at["d"].x < 708
    steps = f"M{at['a'].x:g} {at['a'].y:g}H{at['b'].x:g}V{at['b'].y:g}H{at['d'].x:g}V{at['d'].y:g}H708"
    assert plot.line == steps
    of_2020 = [mark for mark in plot.marks if mark.label.endswith("2020")]
    assert all(abs(one.x - two.x) >= 10 for one, two in itertools.combinations(of_2020, 2))
    assert all(abs(mark.x - plot.columns[1].middle) < (708 - 52) / 6 for mark in of_2020)
    assert [mark.raised for mark in plot.marks] == [False] * 4 + [True] * 3


def test_too_few_are_not_drawn() -> None:
    two = [entry("a", 2019, 0.3), entry("b", 2020, 0.5)]
    assert best_by_date("digits", "L2", best(*two)) is None
    counts = (VenueCount(year=2020, venue=VenueKind.ICLR, entries=2),)
    assert venue_bars(Venues(counts=counts, left_out=0)) is None
    assert claims_chart("digits", "L2", Overestimation(entries=(), median=None, without_claim=0)) is None


def test_of_very_many_marks_those_are_left_out_that_would_hide_others() -> None:
    entries = [entry(f"m{i}", 2019 + i % 9, 0.5 - i / 10_000, raised=i == 0) for i in range(2_500)]
    plot = best_by_date("digits", "L2", best(*entries))
    assert plot is not None
    assert (plot.entries, len(plot.marks) < 2_000) == (2_500, True)
    whole = best_by_date("digits", "L2", best(*entries[:2_000]))
    assert whole is not None
    assert len(whole.marks) == 2_000


def test_bars_are_as_high_as_their_years_have_entries() -> None:
    counts = [(2018, VenueKind.ICLR, 1), (2019, VenueKind.NEURIPS, 6), (2019, VenueKind.ARXIV, 2)]
    plot = venue_bars(
        Venues(counts=tuple(VenueCount(year=y, venue=kind, entries=n) for y, kind, n in counts), left_out=0)
    )
    assert plot is not None
    assert plot.kinds == (VenueKind.NEURIPS, VenueKind.ICLR, VenueKind.ARXIV)
    one, six, two = plot.segments
    assert [one.number, six.number, two.number] == [1, 6, 2]
    unit = (plot.frame.bottom - plot.frame.top) / 8
    assert [segment.height for segment in (one, six, two)] == pytest.approx(
        [unit - 1.5, 6 * unit - 1.5, 2 * unit - 1.5], abs=0.1
    )
    assert two.y == plot.frame.top
    assert six.y == pytest.approx(two.y + 2 * unit)
    assert (one.x < six.x, six.x == two.x) == (True, True)


def test_claims_lie_above_zero_where_they_are_too_high() -> None:
    entries = [
        ClaimedEntry(
            model_id=f"m{i}",
            badge=Badge.REPORTED,
            flagged=False,
            claimed_robust_accuracy=0.5 + gap,
            robust_accuracy=0.5,
            overestimation=gap,
        )
        for i, gap in enumerate((0.4, 0.0, -0.1))
    ]
    plot = claims_chart("digits", "L2", Overestimation(entries=tuple(entries), median=0.0, without_claim=0))
    assert plot is not None
    high, exact, low = plot.marks
    assert high.y < plot.zero == exact.y == plot.median < low.y
    assert high.x < exact.x < low.x
    assert high.label == "m0: claimed 90.00, measured 50.00, difference +40.00"
    assert [tick.label for tick in plot.y_ticks if tick.at == plot.zero] == ["0"]
    assert {"+40", "−10"} <= {tick.label for tick in plot.y_ticks}


@pytest.mark.parametrize("values", [[0.0, 0.0], [1.0, 1.0], [0.5, 0.5], [0.0, 1.0], [0.295, 0.301]])
@pytest.mark.parametrize("signed", [True, False])
def test_axes_have_room_for_all_values(values: list[float], signed: bool) -> None:
    for turned in [1, -1] if signed else [1]:
        axis = Accuracies([turned * value for value in values], FRAME, signed=signed)
        ticks = axis.ticks()
        assert 2 <= len(ticks) <= 12
        assert (ticks[0].at, ticks[-1].at) == (FRAME.bottom, FRAME.top)
        assert all(FRAME.top <= axis.place(turned * value) <= FRAME.bottom for value in values)


@pytest.mark.parametrize(("most", "labels"), [(1, ["0", "1"]), (9, ["0", "2", "4", "6", "8", "10"])])
def test_counts_are_whole(most: int, labels: list[str]) -> None:
    assert [tick.label for tick in Counts(most, FRAME).ticks()] == labels


@pytest.mark.parametrize(
    ("first", "last", "by_year", "columns", "labels"),
    [
        (date(2026, 11, 28), date(2026, 11, 28), False, 1, ["28 Nov 2026"]),
        (date(2026, 11, 28), date(2026, 11, 28), True, 1, ["2026"]),
        (date(2026, 12, 30), date(2027, 1, 1), False, 3, ["30 Dec 2026", "31 Dec 2026", "1 Jan 2027"]),
        (date(2026, 11, 28), date(2027, 1, 5), False, 3, ["Nov 2026", "Dec 2026", "Jan 2027"]),
        (date(2024, 1, 31), date(2026, 1, 1), False, 3, ["2024", "2025", "2026"]),
        (date(1990, 1, 1), date(2027, 12, 31), True, 38, ["1990", "1994", "1998"]),
    ],
)
def test_time_has_columns_as_fine_as_it_is_short(
    first: date, last: date, by_year: bool, columns: int, labels: list[str]
) -> None:
    axis = Times([last, first], FRAME, by_year=by_year)
    assert len(axis.columns()) == columns
    assert [column.label for column in axis.columns() if column.label][:3] == labels
    assert FRAME.left <= axis.place(first) <= axis.place(last) <= FRAME.right


@pytest.mark.parametrize(
    ("value", "text"), [(0.1234, "+12.34"), (-0.003, "−0.30"), (0.0, "0.00"), (-0.00001, "0.00"), (1.0, "+100.00")]
)
def test_differences_have_a_sign(value: float, text: str) -> None:
    assert difference(value) == text
