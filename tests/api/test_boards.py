"""Leaderboards and models over HTTP: what the store says, in full."""

from __future__ import annotations

import pytest

from benchmark.report import EvaluationReport, Points
from benchmark.threat_models import BOARDS
from store.accounts import NewAccount, register
from store.board_filters import BoardFilters
from store.boards import get_board, get_model, list_boards
from store.sign_in import sign_in
from store.tables import EntryRow
from store.views import Sort
from tests.api.shape import assert_error
from tests.running import Running
from tests.store.material import fill_board, published


def test_lists_every_official_board(service: Running) -> None:
    boards = service.http.get("/api/v1/leaderboards").json()["boards"]
    assert [(board["dataset"], board["threat_model"]) for board in boards] == [
        (board.dataset, board.threat_model) for board in BOARDS
    ]
    assert boards == [board.model_dump(mode="json") for board in list_boards(service.services.db)]


def test_a_board_holds_what_was_reported_and_what_was_evaluated(service: Running) -> None:
    reported = service.http.get("/api/v1/leaderboards/cifar10/Linf").json()
    assert reported == get_board(service.services.db, "cifar10", "Linf").model_dump(mode="json")
    assert len(reported["rows"]) > 60
    assert {row["badge"] for row in reported["rows"]} == {"reported"}

    assert service.http.get("/api/v1/leaderboards/digits/Linf").json()["rows"] == []
    published(service.services.db, service.services.blobs, "Method A")
    (row,) = service.http.get("/api/v1/leaderboards/digits/Linf").json()["rows"]
    assert (row["rank"], row["model_id"], row["badge"]) == (1, "Method A", "evaluated_here")
    assert (row["standard_accuracy"], row["robust_accuracy"]) == (0.98, 0.88)


def test_searches_and_filters_a_board(service: Running) -> None:
    address = "/api/v1/leaderboards/cifar10/Linf"
    everything = service.http.get(address).json()["rows"]
    found = service.http.get(address, params={"search": "carmon"}).json()["rows"]
    assert 0 < len(found) < len(everything)
    assert all(row in everything for row in found)
    assert service.http.get(address, params={"badge": "evaluated_here"}).json()["rows"] == []
    assert_error(service.http.get(address, params={"badge": "golden"}), 422, "invalid_input", "badge")
    assert_error(service.http.get(address, params={"search": "x" * 201}), 422, "invalid_input", "search")


def test_returns_a_board_in_parts(service: Running) -> None:
    fill_board(service.services.db, 1_111)
    address = "/api/v1/leaderboards/digits/L2"
    first = service.http.get(address).json()
    assert (len(first["rows"]), first["total"], first["matching"]) == (1_000, 1_111, 1_111)
    rest = service.http.get(address, params={"offset": 1_000}).json()
    whole = get_board(service.services.db, "digits", "L2").model_dump(mode="json")
    assert first["rows"] + rest["rows"] == whole["rows"]
    part = service.http.get(address, params={"sort": "standard", "limit": 3, "offset": 2, "search": "method"}).json()
    assert part == get_board(
        service.services.db, "digits", "L2", BoardFilters(search="method"), sort=Sort.STANDARD, limit=3, offset=2
    ).model_dump(mode="json")
    assert service.http.get(address, params={"offset": 2**31 - 1}).json()["rows"] == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("limit", "0"), ("limit", "1001"), ("limit", "x"), ("offset", "-1"), ("offset", str(2**64)), ("sort", "luck")],
)
def test_refuses_parts_that_there_cannot_be(service: Running, name: str, value: str) -> None:
    response = service.http.get("/api/v1/leaderboards/digits/L2", params={name: value})
    assert_error(response, 422, "invalid_input", name)


@pytest.mark.parametrize("board", ["cifar10/L7", "nothing/Linf", "CIFAR10/Linf", "%00/Linf"])
def test_knows_no_other_board(service: Running, board: str) -> None:
    detail = assert_error(service.http.get(f"/api/v1/leaderboards/{board}"), 404, "not_found", "board")
    assert "digits/Linf" in detail["expected"]


def test_shows_a_model_with_its_report_and_points(service: Running) -> None:
    published(service.services.db, service.services.blobs, "Method A")
    address = "/api/v1/models/digits/Linf/Method A"
    view = get_model(service.services.db, service.services.blobs, "digits", "Linf", "Method A")
    assert view.report is not None
    assert service.http.get(address).json() == view.model_dump(mode="json")
    report = service.http.get(f"{address}/report")
    assert report.headers["content-type"] == "application/json"
    assert report.content == view.report.to_bytes()
    assert EvaluationReport.model_validate_json(report.content) == view.report
    assert Points.model_validate(service.http.get(f"{address}/points").json()) == view.report.points


def test_a_reported_model_has_no_report(service: Running) -> None:
    row = service.http.get("/api/v1/leaderboards/cifar10/Linf").json()["rows"][0]
    address = f"/api/v1/models/cifar10/Linf/{row['model_id']}"
    assert service.http.get(address).json()["report"] is None
    assert_error(service.http.get(f"{address}/report"), 404, "not_found", "report")
    assert_error(service.http.get(f"{address}/points"), 404, "not_found", "report")


def test_knows_no_other_model(service: Running) -> None:
    assert_error(service.http.get("/api/v1/models/cifar10/Linf/Nobody"), 404, "not_found", "model")
    assert_error(service.http.get("/api/v1/models/cifar10/L9/Nobody"), 404, "not_found", "board")


def test_a_board_is_given_again_until_an_entry_changes(service: Running) -> None:
    address = "/api/v1/leaderboards/cifar10/L2"
    first = service.http.get(address)
    etag = {"If-None-Match": first.headers["etag"]}
    assert service.http.get(address).content == first.content
    unchanged = service.http.get(address, headers=etag)
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    with service.services.db.transaction() as session:
        entry = session.query(EntryRow).filter_by(dataset="cifar10", threat_model="L2").first()
        assert entry is not None
        entry.venue = "A venue of its own"
    changed = service.http.get(address, headers=etag)
    assert (changed.status_code, changed.headers["etag"] != etag["If-None-Match"]) == (200, True)
    assert "A venue of its own" in changed.text


@pytest.mark.parametrize("address", ["/api/v1/leaderboards/cifar10/L2", "/boards/cifar10/L2"])
@pytest.mark.parametrize("query", ["", "?search=wide"])
def test_a_board_comes_packed_to_those_who_take_it(service: Running, address: str, query: str) -> None:
    plain = service.http.get(address + query, headers={"Accept-Encoding": "identity"})
    packed = service.http.get(address + query, headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.content == plain.content
    assert "Accept-Encoding" in packed.headers["vary"]


def test_a_page_for_somebody_signed_in_is_never_given_to_others(service: Running) -> None:
    register(service.services.db, NewAccount(name="jane-doe", password="correct horse battery"))
    secret = sign_in(service.services.db, "jane-doe", "correct horse battery")
    cookies = {"Cookie": f"gauntlet_session={secret}"}
    before = service.http.get("/boards/cifar10/L2")
    own = service.http.get("/boards/cifar10/L2", headers=cookies)
    assert own.headers["cache-control"] == "private, no-cache"
    assert "Cookie" in own.headers["vary"]
    assert service.http.get("/boards/cifar10/L2").content == before.content
