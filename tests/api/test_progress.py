"""The progress of a board over HTTP: what the store says, as JSON and as a table."""

from __future__ import annotations

import csv
import io

import pytest

from api.exports.progress_table import COLUMNS
from benchmark.threat_models import BOARDS
from store.progress import ClaimedEntry, DatedEntry, VenueCount, get_progress
from tests.api.shape import assert_error
from tests.running import Running
from tests.store.material import board_entry, fill_board
from tests.web.material import questions

ADDRESS = "/api/v1/leaderboards/cifar10/Linf/progress"


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_progress_is_what_the_store_says_of_every_board(service: Running) -> None:
    for board in BOARDS:
        answer = service.http.get(f"/api/v1/leaderboards/{board.dataset}/{board.threat_model}/progress")
        progress = get_progress(service.services.db, board.dataset, board.threat_model)
        assert answer.json() == progress.model_dump(mode="json")


def test_a_chart_comes_alone(service: Running) -> None:
    whole = service.http.get(ADDRESS).json()
    parts = {"best_known", "venues", "overestimation"}
    for chart in parts:
        answer = service.http.get(ADDRESS, params={"chart": chart}).json()
        assert answer == whole | dict.fromkeys(parts - {chart})


def test_a_table_has_the_rows_of_all_charts_or_of_one(service: Running) -> None:
    progress = get_progress(service.services.db, "cifar10", "Linf")
    assert progress.best_known
    assert progress.venues
    assert progress.overestimation
    answer = service.http.get(ADDRESS, params={"format": "csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="cifar10-Linf-progress.csv"'
    assert tuple(answer.text.splitlines()[0].split(",")) == COLUMNS
    rows = rows_of(answer.text)
    claims = [row for row in rows if row["chart"] == "overestimation"]
    assert [(row["model_id"], float(row["overestimation"])) for row in claims] == [
        (entry.model_id, entry.overestimation) for entry in progress.overestimation.entries
    ]
    best = [row for row in rows if row["chart"] == "best_known"]
    assert [(row["year"], row["day"], row["raised"]) for row in best] == [
        (str(entry.year), "", "true" if entry.raised else "false") for entry in progress.best_known.entries
    ]
    alone = service.http.get(ADDRESS, params={"format": "csv", "chart": "venues"})
    assert alone.headers["content-disposition"].endswith('progress-venues.csv"')
    assert rows_of(alone.text) == [row for row in rows if row["chart"] == "venues"]
    assert sum(int(row["entries"]) for row in rows_of(alone.text)) == 98
    accepted = service.http.get(ADDRESS, headers={"Accept": "text/csv"})
    assert (accepted.text, accepted.headers["vary"]) == (answer.text, "Accept, Accept-Encoding")


def test_the_columns_of_a_table_are_all_that_its_rows_say() -> None:
    said = DatedEntry.model_fields | VenueCount.model_fields | ClaimedEntry.model_fields
    assert set(COLUMNS) == {"chart", *said}


def test_no_cell_of_a_table_is_a_formula(service: Running) -> None:
    entry = board_entry("Method", 0.5)
    entry.venue = '=HYPERLINK("http://x") ICLR 2020'
    with service.services.db.transaction() as session:
        session.add(entry)
    text = service.http.get("/api/v1/leaderboards/digits/L2/progress?format=csv&chart=best_known").text
    assert [row["venue"] for row in rows_of(text)] == ["'" + '=HYPERLINK("http://x") ICLR 2020']


@pytest.mark.parametrize(
    ("query", "field", "expected"),
    [
        ("chart=pie", "chart", "'best_known', 'venues' or 'overestimation'"),
        ("format=latex", "format", "'json' or 'csv'"),
        ("format=", "format", "'json' or 'csv'"),
    ],
)
def test_what_there_is_not_is_refused(service: Running, query: str, field: str, expected: str) -> None:
    assert assert_error(service.http.get(f"{ADDRESS}?{query}"), 422, "invalid_input", field)["expected"] == expected


def test_an_unknown_board_has_no_progress(service: Running) -> None:
    assert_error(service.http.get("/api/v1/leaderboards/cifar10/L9/progress"), 404, "not_found", "board")


def test_an_answer_is_made_anew_only_when_the_board_has_changed(service: Running) -> None:
    address = "/api/v1/leaderboards/digits/L2/progress"
    first = service.http.get(address)
    with questions(service.services) as asked:
        again = service.http.get(address, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content, len(asked)) == (304, b"", 1)
    fill_board(service.services.db, 3)
    changed = service.http.get(address, headers={"If-None-Match": first.headers["etag"]})
    assert changed.status_code == 200
    assert changed.json()["entries"] == 3
