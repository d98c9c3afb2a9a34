"""What a board's page shows beyond its usual table: chosen columns, ties, what is hidden, and a plot for every hand."""

from __future__ import annotations

import random

from sqlalchemy import update

from store.blobs import LocalBlobs
from store.boards import get_board, get_model
from store.errors import StorageUnavailable
from store.tables import EntryRow
from store.ties import KnownVerdicts
from tests.running import Running
from tests.store.corrupted import publish_corrupted
from tests.store.evaluated import add_evaluated
from tests.store.material import board_entry, fill_board
from tests.web.html import PageReader, read_page
from tests.web.material import HOSTILE, publish, questions
from web.board_columns import Column, possible_columns, usual_columns
from web.board_query import BoardQuery
from web.glossary import BADGES
from web.pages.board import board_page
from web.rendering import ROOM, as_html

BOARD = "/boards/digits/L2"
MOST_BYTES = 300_000
"""A page of a long board with everything that its first visit loads, before it is compressed."""
LEFT = [number >= 60 for number in range(500)]
"""Verdicts on 500 points: 440 are robust."""


def headings(page: PageReader) -> list[str]:
    return [
        link["href"].partition("sort=")[2] for link in page.find("a") if "Sort by this column" in link.get("title", "")
    ]


def change(service: Running, model_id: str, **values: object) -> None:
    with service.services.db.transaction() as session:
        session.execute(update(EntryRow).where(EntryRow.model_id == model_id).values(**values))


def test_columns_are_chosen_by_the_address(service: Running) -> None:
    usual = read_page(service.http.get("/boards/cifar10/Linf").text)
    assert len(usual.find("details", class_="board-columns")) == 1
    assert not usual.find("details", class_="board-columns", open="")
    checked = {box["value"] for box in usual.find("input", name="columns", checked="")}
    assert checked == {column.value for column in usual_columns(True)}
    assert {box["value"] for box in usual.find("input", name="columns")} == set(possible_columns(True))
    address = "/boards/cifar10/Linf?columns=zoo_id&columns=parameters&columns=claimed&columns=parameters&columns="
    chosen = read_page(service.http.get(address).text)
    assert chosen.find("details", class_="board-columns", open="")
    kept = "&columns=claimed&columns=parameters&columns=zoo_id"
    assert headings(chosen) == [f"{name}{kept}" for name in ("name", "claimed")] + [""] + [
        f"{name}{kept}" for name in ("parameters", "zoo_id")
    ]
    assert len(chosen.find("th", scope="col")) == 6
    assert {box["value"] for box in chosen.find("input", type="checkbox", name="columns", checked="")} == {
        "claimed", "parameters", "zoo_id",
    }  # fmt: skip
    assert chosen.find("a", href="/boards/cifar10/Linf")  # back to the usual ones


def test_the_usual_columns_chosen_one_by_one_are_the_usual_view(service: Running) -> None:
    for board, attacked in (("cifar10/Linf", True), ("cifar10/corruptions", False)):
        asked = "&".join(f"columns={column}" for column in reversed(usual_columns(attacked)))
        assert service.http.get(f"/boards/{board}?{asked}").text == service.http.get(f"/boards/{board}").text
        # What boards of this kind do not have says nothing.
        foreign = Column.MCE if attacked else Column.RELIABILITY
        assert foreign not in possible_columns(attacked)
        with_foreign = service.http.get(f"/boards/{board}?columns={foreign}")
        assert with_foreign.text == service.http.get(f"/boards/{board}").text


def test_what_a_board_does_not_know_is_refused(service: Running) -> None:
    refused = {
        "columns=luck": "columns",
        "columns=venue&columns=%3Cscript%3E": "columns",
        "columns=venue%2Czoo_id": "columns",
        "withdrawn=perhaps": "withdrawn",
        "old_protocol=1": "old_protocol",
    }
    for query, field in refused.items():
        response = service.http.get(f"{BOARD}?{query}")
        assert response.status_code == 422
        page = read_page(response.text)
        assert field in page.text
        assert "one of" in page.text
        assert "<script>" not in response.text


def test_every_link_and_form_keeps_the_columns(service: Running) -> None:
    fill_board(service.services.db, 250)
    change(service, "Method 00249", withdrawn_ms=1)
    chosen = "columns=claimed&columns=published"
    address = f"{BOARD}?search=method&badge=reported&sort=name&page=2&{chosen}"
    page = read_page(service.http.get(address).text)
    kept = "search=method&badge=reported&sort=name"
    for rest in (f"{kept}&{chosen}", f"{kept}&page=3&{chosen}", f"{kept}&order=desc&{chosen}"):
        assert page.find("a", href=f"{BOARD}?{rest}"), rest
    shown = "search=method&badge=reported&withdrawn=yes&old_protocol=yes&sort=name"
    assert page.find("a", id="show-beyond", href=f"{BOARD}?{shown}&{chosen}")
    assert page.find("a", href=f"{BOARD}?{kept}&page=2")  # the usual columns
    hidden = [(field["name"], field["value"]) for field in page.find("input", type="hidden")]
    # Of the form with the filters, and then of the one with the columns.
    assert hidden == [
        ("sort", "name"), ("columns", "claimed"), ("columns", "published"),
        ("search", "method"), ("badge", "reported"), ("sort", "name"),
    ]  # fmt: skip
    few = read_page(service.http.get(f"{BOARD}?search=00007&sort=name&{chosen}").text)
    assert few.find("a", id="show-hidden", href=f"{BOARD}?sort=name&{chosen}")
    past = read_page(service.http.get(f"{BOARD}?as_of=2026-03-01&sort=name&{chosen}").text)
    assert past.find("a", href=f"{BOARD}?sort=name&{chosen}")  # the present
    hidden = [(field["name"], field["value"]) for field in past.find("input", type="hidden")]
    assert ("as_of", "2026-03-01") in hidden[3:]
    assert ("as_of", "2026-03-01") not in hidden[:3]


def test_the_breakdown_tells_what_each_attack_left(service: Running) -> None:
    publish(service.services, "Method A")
    report = get_model(service.services.db, service.services.blobs, "digits", "Linf", "Method A").report
    assert report is not None
    with service.services.db.transaction() as session:
        entry = board_entry("Elsewhere", 0.5)
        entry.threat_model, entry.forward_passes, entry.parameters = "Linf", 2, 25_098
        session.add(entry)
    columns = "columns=breakdown&columns=forward_passes&columns=parameters&columns=published"
    page = board_page(service.services, "digits", "Linf", BoardQuery.read(columns=["breakdown"]))
    assert page.parts == tuple(attack.name for attack in report.attacks) == ("apgd-ce", "square")
    shown = read_page(service.http.get(f"/boards/digits/Linf?{columns}").text)
    # Rank, model and best known; then two attacks, parameters, passes and date.
    assert len(shown.find("th", scope="col")) == 3 + 2 + 3
    cells = service.http.get(f"/boards/digits/Linf?{columns}").text
    assert cells.count('class="num part"') == 2 * (1 + 2)
    assert cells.count(f'<td class="num part">{100 * report.attacks[0].robust_accuracy_after:.2f}</td>') >= 1
    assert cells.count('<td class="num part">–<span class="unseen"> unknown</span></td>') == 2
    passes = sum(attack.forward_passes for attack in report.attacks)
    assert f"{passes}in the evaluation" in shown.text.replace("\u202f", "")
    assert "2for each answer" in shown.text
    assert "25\u202f098" in shown.text
    assert len(shown.find("time")) == 1
    reported = read_page(service.http.get("/boards/cifar10/Linf?columns=breakdown").text)
    assert reported.find("p", id="no-breakdown")
    assert not reported.find("td", class_="num part")


def test_the_breakdown_of_corruptions_has_all_of_them(service: Running) -> None:
    publish_corrupted(service.services.db, service.services.blobs, "Method A", losses=(6, 4))
    page = read_page(service.http.get("/boards/digits/corruptions?columns=breakdown&columns=mce").text)
    assert len(page.find("th", class_="num part")) == len(page.find("td", class_="num part")) == 15
    for text in ("gaussian noise", "jpeg compression", "100.00", "10.00"):
        assert text in page.text
    nobody = read_page(service.http.get("/boards/cifar10/corruptions?columns=breakdown").text)
    assert len(nobody.find("th", class_="num part")) == 15
    assert not nobody.find("p", id="no-breakdown")


def test_every_view_takes_a_fixed_number_of_questions(service: Running) -> None:
    numbers = []
    for size in (2, 9):
        add_evaluated(service.services.db, service.services.blobs, [(f"{size}-{i}", LEFT) for i in range(size)])
        for columns in ((), ("breakdown", "forward_passes")):
            with questions(service.services) as asked:
                board_page(service.services, "digits", "L2", BoardQuery.read(columns=columns))
            numbers.append(len(asked))
    assert numbers[:2] == numbers[2:]
    assert numbers[1] == numbers[0] + 1


def test_ties_are_told_beside_the_rank(service: Running) -> None:
    worse = [number >= 64 for number in range(500)]
    far = [number >= 300 for number in range(500)]
    add_evaluated(service.services.db, service.services.blobs, [(HOSTILE, LEFT), ("Worse", worse), ("Far", far)])
    answer = service.http.get(BOARD)
    page = read_page(answer.text)
    (mark,) = [link for link in page.find("a", class_="badge badge-tie") if "Not told apart" in link["title"]]
    assert mark["href"].startswith("/compare/digits/L2?model=")
    assert HOSTILE.replace("\u202e", "") in mark["title"]
    assert page.text.count("tied with #1") == 1
    assert BADGES["tie"].meaning in page.text
    # Where the better one is not shown, its name says more than its rank.
    alone = service.http.get(f"{BOARD}?search=Worse")
    assert "tied with #" not in alone.text
    assert f"not told apart from {HOSTILE}".replace("\u202e", "") in read_page(alone.text).text
    assert "<script>alert" not in answer.text + alone.text
    rows = service.http.get("/api/v1/leaderboards/digits/L2").json()["rows"]
    assert [row["tied_with"] for row in rows] == [None, HOSTILE, None]
    view = service.http.get("/api/v1/openapi.json").json()["components"]["schemas"]["BoardRow"]
    assert "McNemar" in view["properties"]["tied_with"]["description"]
    table = service.http.get("/api/v1/leaderboards/digits/L2?format=csv&search=Worse").text
    assert "tied_with" in table.splitlines()[0]


def test_a_tie_leads_to_the_two_side_by_side(service: Running) -> None:
    publish(service.services, "Method A")
    publish(service.services, "Method B")
    page = read_page(service.http.get("/boards/digits/Linf").text)
    (link,) = [one["href"] for one in page.find("a", class_="badge badge-tie") if one["href"].startswith("/compare/")]
    assert link == "/compare/digits/Linf?model=Method+A&model=Method+B"
    assert page.find("a", href="/compare/digits/Linf")
    assert service.http.get(link).status_code == 200


class OutOfReach(LocalBlobs):
    """Blobs on a machine that does not answer."""

    def read(self, sha256: str) -> bytes:
        raise StorageUnavailable(f"{sha256} is out of reach")


def test_a_page_without_its_ties_is_shown_and_not_kept(service: Running) -> None:
    add_evaluated(service.services.db, service.services.blobs, [("a", LEFT), ("b", LEFT)])
    sound = service.services.verdicts
    vars(service.services)["verdicts"] = KnownVerdicts(OutOfReach(service.blobs))
    page = read_page(service.http.get(BOARD).text)
    assert page.find("div", id="no-ties")
    assert len(page.find("a", class_="name")) == 2
    assert service.http.get("/api/v1/leaderboards/digits/L2").json()["ties"] == "unavailable"
    vars(service.services)["verdicts"] = sound
    page = read_page(service.http.get(BOARD).text)
    assert not page.find("div", id="no-ties")
    assert "tied with #1" in page.text
    assert service.http.get("/api/v1/leaderboards/digits/L2").json()["ties"] == "told"


def test_what_is_hidden_without_being_asked_for_is_counted_and_can_be_shown(service: Running) -> None:
    add_evaluated(service.services.db, service.services.blobs, [(name, LEFT) for name in ("a", "gone", "old", "both")])
    change(service, "gone", withdrawn_ms=1, withdrawn_reason="The wrong file")
    change(service, "old", protocol="standard-0")
    change(service, "both", withdrawn_ms=1, protocol="standard-0")
    change(service, "a", extra_data="real")
    page = read_page(service.http.get(f"{BOARD}?sort=name&extra_data=unknown").text)
    assert "3 withdrawn or of an old protocol" in page.text
    assert "1 hidden by filters" in page.text
    assert page.find("a", id="show-hidden", href=f"{BOARD}?sort=name")
    (link,) = page.find("a", id="show-beyond")
    assert link["href"] == f"{BOARD}?extra_data=unknown&withdrawn=yes&old_protocol=yes&sort=name"
    everything = read_page(service.http.get(link["href"]).text)
    assert {one["href"].rpartition("/")[2] for one in everything.find("a", class_="name")} == {"gone", "old", "both"}
    assert len(everything.find("tr", class_="row-evaluated_here row-aside")) == 3
    assert "withdrawn or of an old protocol" not in everything.text
    for name in ("withdrawn", "old_protocol"):
        assert everything.find("input", type="checkbox", name=name, value="yes", checked="")
        assert everything.find("a", href=f"/about#{name}")
    # The rest of what the filters hide, these still shown.
    assert everything.find("a", id="show-hidden", href=f"{BOARD}?withdrawn=yes&old_protocol=yes&sort=name")
    half = read_page(service.http.get(f"{BOARD}?withdrawn=yes").text)
    assert {one["href"].rpartition("/")[2] for one in half.find("a", class_="name")} == {"a", "gone"}
    assert "2 withdrawn or of an old protocol" in half.text
    assert half.find("a", href="/api/v1/leaderboards/digits/L2?withdrawn=yes")
    assert service.http.get("/api/v1/leaderboards/digits/L2?withdrawn=yes").json()["set_aside"] == 2


def test_the_keyboard_stops_at_few_marks_and_all_bear_their_name(service: Running) -> None:
    page = read_page(service.http.get("/boards/cifar10/Linf").text)
    marks = [link for link in page.find("a") if link.get("class", "").startswith("point")]
    stops = [link for link in marks if "tabindex" not in link]
    assert marks[-len(stops) :] == stops  # drawn last, so that no other hides them
    assert len(marks) == 99
    assert 1 < len(stops) <= 20
    assert all((link["tabindex"], link["aria-hidden"]) == ("-1", "true") for link in marks if link not in stops)
    best = get_board(service.services.db, "cifar10", "Linf").rows[0]
    assert stops[0]["href"] == f"/models/cifar10/Linf/{best.model_id}"
    # Once where pointing shows it, once for the assistance of the browser.
    named = f"{best.model_id}: standard {100 * (best.standard_accuracy or 0):.2f}"
    assert service.http.get("/boards/cifar10/Linf").text.count(f">{named}") == 2
    assert "by keyboard: Tab stops at" in page.text
    assert not page.find("svg", role="img")
    few = read_page(service.http.get("/boards/cifar10/Linf?search=wang").text)
    assert 3 <= len([link for link in few.find("a") if link.get("class", "").startswith("point")]) < 20


def test_what_signs_mean_can_be_reached_without_a_pointer(service: Running) -> None:
    publish(service.services, "Method A")
    about = read_page(service.http.get("/about").text)
    for board, keys in (("digits/Linf", {"interval", "best_known"}), ("digits/corruptions", {"interval", "mce"})):
        page = read_page(service.http.get(f"/boards/{board}").text)
        for key in keys:
            assert page.find("a", href=f"/about#{key}")
            assert about.find("div", id=key)
            assert BADGES[key].name in page.text
        assert not page.find("abbr")
    assert about.find("div", id="tie")


def test_a_long_board_stays_small(service: Running) -> None:
    draw = random.Random(3)  # noqa: S311 - it hides nothing
    verdicts = [[draw.random() < 0.9 - 0.03 * number for _ in range(500)] for number in range(25)]
    entries = [(f"Method{number:03d}Careful", verdicts[number // 10]) for number in range(250)]
    add_evaluated(service.services.db, service.services.blobs, entries)
    for number in range(0, 250, 8):
        change(service, f"Method{number:03d}Careful", findings='["zero_gradient"]')
    page = board_page(service.services, "digits", "L2", BoardQuery())
    assert (page.board.total, len(page.board.rows), page.pages) == (250, 100, 3)
    assert sum(row.tied_with is not None for row in page.board.rows) > 80
    assert page.plot is not None
    assert len(page.plot.marks) == 250
    files = ("style.css", "live.js", "favicon.svg", "favicon.png")
    loaded = len(as_html(page).encode()) + sum((ROOM / "static" / name).stat().st_size for name in files)
    assert loaded < MOST_BYTES
