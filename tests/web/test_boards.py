"""The front page and the leaderboards: exact contexts, filters and order as links, refreshing only while it helps."""

from __future__ import annotations

import csv
import io
from typing import cast

import pytest

from benchmark.threat_models import BOARDS
from store.boards import get_board, list_boards, list_points
from store.claims import beat
from store.submissions import cancel, get_submission
from store.views import Badge, Order, Sort
from tests.running import Running
from tests.store.material import LEASE_MS, fill_board, finish, shard_report
from tests.web.html import read_page
from tests.web.material import PROGRESS, attack, publish, take_in
from web.board_query import BoardQuery
from web.charts import scatter
from web.pages.board import BoardPage, board_page
from web.pages.home import Card, Group, HomePage, home_page
from web.rendering import Page, as_html


def test_home_shows_all_boards_and_first_those_with_evaluations(service: Running) -> None:
    publish(service.services, "Method A")
    take_in(service.services, "Method B")
    boards = {(board.dataset, board.threat_model): board for board in list_boards(service.services.db)}
    in_order: dict[str, tuple[str, ...]] = {
        "digits": ("Linf", "L2", "corruptions"),
        "cifar10": ("Linf", "L2", "corruptions"),
    }
    in_order |= {"cifar100": ("Linf", "corruptions"), "imagenet": ("Linf", "corruptions")}
    names = {"digits": "UCI digits", "cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "imagenet": "ImageNet"}
    assert home_page(service.services) == HomePage(
        title="Leaderboards",
        refresh_s=10,
        entries=237,
        evaluated_entries=1,
        groups=tuple(
            Group(
                dataset=dataset,
                name=names[dataset],
                points={"digits": 500, "imagenet": 5_000}.get(dataset, 10_000),
                evaluated_here=dataset == "digits",
                cards=tuple(
                    Card(board=boards[dataset, name], under_way=int((dataset, name) == ("digits", "Linf")))
                    for name in threat_models
                ),
            )
            for dataset, threat_models in in_order.items()
        ),
    )
    page = read_page(service.http.get("/").text)
    for board in BOARDS:
        assert page.find("a", href=f"/boards/{board.dataset}/{board.threat_model}")
    assert page.find("meta", http_equiv="refresh", content="10")
    assert "1 under way" in page.text
    assert "no guarantee of safety in deployment" in page.text
    assert "Evaluated here" in page.text
    assert "Reported" in page.text
    assert page.find("a", href="/submit")


def test_board_shows_its_rows_and_what_is_under_way(service: Running) -> None:
    publish(service.services, "Method A", extra_data="synthetic")
    view, _ = attack(service.services, "Method B")
    take_in(service.services, "Elsewhere", threat_model="L2")
    whole = get_board(service.services.db, "digits", "Linf")
    assert board_page(service.services, "digits", "Linf", BoardQuery()) == BoardPage(
        title="UCI digits, Linf 0.2",
        refresh_s=5,
        board=whole,
        query=BoardQuery(),
        running=(get_submission(service.services.db, view.id),),
        plot=None,
        json_address="/api/v1/leaderboards/digits/Linf",
        all_json_address="/api/v1/leaderboards/digits/Linf",
    )
    page = read_page(service.http.get("/boards/digits/Linf").text)
    assert page.find("meta", http_equiv="refresh", content="5")
    assert page.find("a", href=f"/submissions/{view.id}")
    assert not page.find("a", href="/submissions/Elsewhere")
    assert page.find("progress", max="2", value="1.500")
    assert "robust at most 75.60\u202f%" in page.text
    for text in ("98.00", "88.00", "±", "Synthetic", "Evaluated here, standard-1", "no flag", "tiny-cnn"):
        assert text in page.text


def test_a_board_with_work_under_way_is_made_anew_only_when_that_has_come_further(
    service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[BoardPage] = []

    def noted(page: Page) -> str:
        made.append(board := cast(BoardPage, page))
        return as_html(board)

    monkeypatch.setattr("web.pages.board.as_html", noted)
    view, work = attack(service.services, "Doe2026Next")
    answers = [service.http.get("/boards/digits/Linf") for _ in range(3)]
    assert len({answer.content for answer in answers}) == len(made) == 1
    unchanged = service.http.get("/boards/digits/Linf", headers={"If-None-Match": answers[0].headers["etag"]})
    assert unchanged.status_code == 304
    beat(service.services.db, work, LEASE_MS, PROGRESS.model_copy(update={"points_done": 200}))
    service.http.get("/boards/digits/Linf")
    assert [page.running[0].progress.points_done for page in made] == [122, 200]
    cancel(service.services.db, view.id)
    assert "Doe2026Next" not in service.http.get("/boards/digits/Linf").text


def test_board_stops_refreshing_when_nothing_is_under_way(service: Running) -> None:
    view, work = attack(service.services, "Method B")
    finish(service.services.db, service.services.blobs, work, shard_report(work).to_bytes())
    page = read_page(service.http.get("/boards/digits/Linf").text)
    assert not page.find("meta", http_equiv="refresh")
    assert page.find("a", href="/models/digits/Linf/Method%20B")
    live = read_page(service.http.get(f"/submissions/{view.id}").text)
    assert not live.find("meta", http_equiv="refresh")
    assert live.find("a", href="/models/digits/Linf/Method%20B")


@pytest.mark.parametrize(("dataset", "threat_model"), [(board.dataset, board.threat_model) for board in BOARDS])
def test_every_board_reads_well_and_leads_to_all_its_entries(service: Running, dataset: str, threat_model: str) -> None:
    publish(service.services, "Method A")
    page = read_page(service.http.get(f"/boards/{dataset}/{threat_model}").text)
    rows = get_board(service.services.db, dataset, threat_model).rows
    assert len(page.find("th", scope="row", class_="model")) == len(rows)
    for row in rows:
        assert page.find("a", href=f"/models/{dataset}/{threat_model}/{row.model_id.replace(' ', '%20')}")
    assert page.find("a", href=f"/api/v1/leaderboards/{dataset}/{threat_model}")


def test_board_hides_by_filter_and_says_how_much(service: Running) -> None:
    query = BoardQuery.read("wang", "reported", "standard")
    page = board_page(service.services, "cifar10", "Linf", query)
    assert 0 < len(page.board.rows) < page.board.total == 99
    assert page.hidden == 99 - len(page.board.rows)
    assert all("wang" in f"{row.model_id} {row.authors} {row.title}".lower() for row in page.board.rows)
    standard = [row.standard_accuracy or 0 for row in page.board.rows]
    assert standard == sorted(standard, reverse=True)
    assert page.json_address == "/api/v1/leaderboards/cifar10/Linf?search=wang&badge=reported"
    assert service.http.get(page.json_address).json()["rows"]
    shown = read_page(service.http.get("/boards/cifar10/Linf?search=wang&badge=reported&sort=standard").text)
    assert f"{page.hidden} hidden by filters" in shown.text
    assert shown.find("a", href="/boards/cifar10/Linf?sort=standard", id="show-hidden")
    assert shown.find("input", name="search", value="wang")
    assert shown.find("option", value="reported", selected="")
    assert shown.find("th", aria_sort="descending")
    nothing = read_page(service.http.get("/boards/cifar10/Linf?badge=unverified").text)
    assert "99 hidden by filters" in nothing.text
    assert "No entry fits these filters" in nothing.text


@pytest.mark.parametrize("sort", [Sort.BEST, Sort.STANDARD, Sort.NAME, Sort.VENUE])
def test_board_sorts_and_keeps_everybody_s_rank(service: Running, sort: Sort) -> None:
    page = board_page(service.services, "cifar10", "Linf", BoardQuery(sort=sort))
    ranks = {row.model_id: row.rank for row in get_board(service.services.db, "cifar10", "Linf").rows}
    assert {row.model_id: row.rank for row in page.board.rows} == ranks
    shown = read_page(service.http.get(f"/boards/cifar10/Linf?sort={sort}").text)
    names = [element["href"].rpartition("/")[2] for element in shown.find("a", class_="name")]
    assert names == [row.model_id for row in page.board.rows]
    turned = board_page(service.services, "cifar10", "Linf", BoardQuery(sort=sort, order=_other(page.query.direction)))
    assert {row.model_id: row.rank for row in turned.board.rows} == ranks
    assert turned.sorted_by(sort).partition("?")[2] == ("" if sort is Sort.BEST else f"sort={sort}")


def _other(order: Order) -> Order:
    return Order.ASCENDING if order is Order.DESCENDING else Order.DESCENDING


def test_every_column_of_the_board_can_be_sorted_by_both_ways(service: Running) -> None:
    page = read_page(service.http.get("/boards/cifar10/Linf?flagged=no").text)
    links = {link["href"] for link in page.find("a", title="Sort by this column")}
    names = ("name", "standard", "robust", "reliability", "extra_data", "architecture", "venue", "zoo_id")
    assert links == {f"/boards/cifar10/Linf?flagged=no&sort={name}" for name in names}
    assert page.find("a", href="/boards/cifar10/Linf?flagged=no&order=asc", title="Sort by this column the other way")
    turned = read_page(service.http.get("/boards/cifar10/Linf?sort=venue&order=desc").text)
    assert turned.find("th", class_="venue", aria_sort="descending")
    assert turned.find("a", href="/boards/cifar10/Linf?sort=venue", title="Sort by this column the other way")
    assert turned.find("input", name="order", value="desc")


def test_a_board_is_shown_as_it_stood_and_filtered_by_doubt_and_data(service: Running) -> None:
    publish(service.services, "Method A", extra_data="synthetic")
    take_in(service.services, "Method B")
    now = read_page(service.http.get("/boards/digits/Linf?extra_data=synthetic&flagged=no").text)
    assert now.find("option", value="synthetic", selected="")
    assert now.find("option", value="no", selected="")
    assert len(now.find("a", class_="name")) == 1
    assert "Method B" in now.text
    before = read_page(service.http.get("/boards/digits/Linf?as_of=2020-02-29").text)
    assert before.find("input", name="as_of", type="date", value="2020-02-29")
    assert before.find("p", id="as-it-stood")
    assert "29 Feb 2020, 23:59:59 UTC" in before.text
    assert not before.find("a", class_="name")
    assert "Method B" not in before.text
    later = read_page(service.http.get("/boards/digits/Linf?as_of=2999-01-01T00:00:00Z&sort=name").text)
    assert later.find("input", name="as_of", type="text", value="2999-01-01T00:00:00Z")
    assert later.find("a", class_="name")


@pytest.mark.parametrize("view", ["", "?search=wang&sort=venue&order=desc", "?flagged=no&extra_data=some"])
def test_the_downloads_hold_exactly_what_is_shown(service: Running, view: str) -> None:
    page = read_page(service.http.get(f"/boards/cifar10/Linf{view}").text)
    shown = [element["href"].rpartition("/")[2] for element in page.find("a", class_="name")]
    (address,) = [link["href"] for link in page.find("a") if "format=csv" in link.get("href", "")]
    rows = list(csv.DictReader(io.StringIO(service.http.get(address).text)))
    assert [row["model_id"] for row in rows] == shown != []
    for name, first in (("bibtex", "% CIFAR-10"), ("latex", "% CIFAR-10")):
        answer = service.http.get(address.replace("format=csv", f"format={name}"))
        assert (answer.status_code, answer.text[: len(first)]) == (200, first)


def test_the_downloads_of_a_page_hold_its_rows(service: Running) -> None:
    fill_board(service.services.db, 450)
    page = board_page(service.services, "digits", "L2", BoardQuery.read(page="3", sort="standard"))
    rows = csv.DictReader(io.StringIO(service.http.get(page.written_as("csv")).text))
    assert [row["model_id"] for row in rows] == [row.model_id for row in page.board.rows]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("badge=gold", "badge"),
        ("sort=luck", "sort"),
        (f"search={'x' * 201}", "search"),
        ("extra_data=much", "extra_data"),
        ("flagged=perhaps", "flagged"),
        ("as_of=yesterday", "as_of"),
        ("as_of=1969-12-31", "as_of"),
        ("order=up", "order"),
        ("page=0", "page"),
        ("page=-1", "page"),
        ("page=two", "page"),
        ("page=1.5", "page"),
        ("page=%D9%A3", "page"),
    ],
)
def test_board_refuses_unknown_choices(service: Running, query: str, field: str) -> None:
    response = service.http.get(f"/boards/cifar10/Linf?{query}")
    assert response.status_code == 422
    assert field in read_page(response.text).text


def test_a_long_board_is_shown_by_the_page(service: Running) -> None:
    fill_board(service.services.db, 250)
    whole = get_board(service.services.db, "digits", "L2").rows
    query = BoardQuery.read(page="2")
    second = board_page(service.services, "digits", "L2", query)
    assert second == BoardPage(
        title="UCI digits, L2 0.8, page 2",
        refresh_s=None,
        board=get_board(service.services.db, "digits", "L2", limit=100, offset=100),
        query=BoardQuery(page=2),
        running=(),
        plot=scatter("digits", "L2", list_points(service.services.db, "digits", "L2")),
        json_address="/api/v1/leaderboards/digits/L2?sort=best&limit=100&offset=100",
        all_json_address="/api/v1/leaderboards/digits/L2",
    )
    assert service.http.get(second.json_address).json()["rows"] == [
        row.model_dump(mode="json") for row in second.board.rows
    ]
    seen: list[str] = []
    address = "/boards/digits/L2"
    for number, rows in enumerate(("1–100", "101–200", "201–250"), start=1):
        page = read_page(service.http.get(address).text)
        assert f"rows {rows} of 250" in page.text
        assert f"Page {number} of 3" in page.text
        assert page.find("nav", aria_label="Pages of the leaderboard")
        assert "250 entries" in page.text
        seen += [element["href"].rpartition("/")[2] for element in page.find("a", class_="name")]
        assert bool(page.find("a", rel="prev")) == (number > 1)
        address = page.find("a", rel="next")[0]["href"] if number < 3 else ""
    assert seen == [row.model_id.replace(" ", "%20") for row in whole]


def test_pages_keep_the_filters_and_the_order(service: Running) -> None:
    fill_board(service.services.db, 450)
    address = "/boards/digits/L2?search=method&badge=reported&sort=name&page=2"
    page = read_page(service.http.get(address).text)
    kept = "/boards/digits/L2?search=method&badge=reported&sort=name"
    assert page.find("a", rel="prev", href=kept)
    assert page.find("a", rel="next", href=f"{kept}&page=3")
    # Another order begins at its beginning.
    assert page.find("a", href="/boards/digits/L2?search=method&badge=reported&sort=standard")
    assert not page.find("input", name="page")


def test_a_page_beyond_the_end_is_the_last_one(service: Running) -> None:
    fill_board(service.services.db, 450)
    for number in ("6", "99999999999999999999999"):
        page = board_page(service.services, "digits", "L2", BoardQuery.read(page=number))
        assert (page.query.page, page.first_row, page.last_row) == (5, 401, 450)
        assert service.http.get(f"/boards/digits/L2?page={number}").status_code == 200
    nothing = board_page(service.services, "digits", "L2", BoardQuery(search="nobody", page=2))
    assert (nothing.query.page, nothing.pages, nothing.hidden) == (1, 1, 450)


def test_a_short_board_has_no_pages(service: Running) -> None:
    fill_board(service.services.db, 100)
    page = read_page(service.http.get("/boards/digits/L2").text)
    assert not page.find("nav", aria_label="Pages of the leaderboard")
    assert "rows 1" not in page.text
    shown = board_page(service.services, "digits", "L2", BoardQuery(badge=Badge.REPORTED))
    assert (shown.pages, shown.json_address) == (1, "/api/v1/leaderboards/digits/L2?badge=reported")


def test_a_very_long_board_says_that_its_json_comes_in_parts(service: Running) -> None:
    fill_board(service.services.db, 1_111)
    page = read_page(service.http.get("/boards/digits/L2?page=2").text)
    assert "rows 101–200 of 1\u202f111" in page.text
    assert "1\u202f000 rows an answer" in page.text
    assert page.find("a", href="/api/v1/leaderboards/digits/L2")
