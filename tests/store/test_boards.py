"""What the boards show, in which order, and at which cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import event, text
from sqlalchemy.engine import Connection

from benchmark.errors import NotFound
from benchmark.report import CheckOutcome
from benchmark.threat_models import BOARDS
from store.blobs import LocalBlobs
from store.board_filters import EVERYTHING, BoardFilters
from store.boards import get_board, get_model, list_boards, list_points
from store.claims import claim
from store.database import Database
from store.outcomes import finish_check
from store.reference import import_reference_boards
from store.submissions import ensure_submission, get_submission, list_open, list_submissions, submit
from store.views import Badge, BoardPoint, BoardView, Sort, State
from tests.store.material import (
    Rules,
    a_worker,
    board_entry,
    check,
    fill_board,
    finish,
    must_claim,
    new_submission,
    published,
    shard_report,
)


def add_entry(
    db: Database,
    model_id: str,
    best: float | None,
    standard: float | None = 0.9,
    published_ms: int | None = None,
    *,
    title: str | None = None,
    robust: float | None = 0.99,
) -> None:
    with db.transaction() as session:
        session.add(board_entry(model_id, best, standard, published_ms, title=title, robust=robust))


@contextmanager
def counted(db: Database) -> Iterator[list[str]]:
    statements: list[str] = []

    def note(*args: object) -> None:
        statements.append(str(args[2]))

    event.listen(db.engine, "before_cursor_execute", note)
    yield statements
    event.remove(db.engine, "before_cursor_execute", note)


def test_order_and_ranks(db: Database) -> None:
    add_entry(db, "unknown", None)
    add_entry(db, "worse", 0.4)
    add_entry(db, "best", 0.6)
    add_entry(db, "tie, later", 0.5, 0.8, 2_000)
    add_entry(db, "tie, undated", 0.5, 0.8)
    add_entry(db, "tie, earlier", 0.5, 0.8, 1_000)
    add_entry(db, "tie, more accurate", 0.5, 0.85)
    add_entry(db, "equal", 0.4)
    assert [(row.rank, row.model_id) for row in get_board(db, "digits", "L2").rows] == [
        (1, "best"),
        (2, "tie, more accurate"),
        (3, "tie, earlier"),
        (4, "tie, later"),
        (5, "tie, undated"),
        (6, "equal"),
        (6, "worse"),
        (None, "unknown"),
    ]


def test_a_filter_keeps_the_ranks(db: Database) -> None:
    for i, name in enumerate(["Alpha", "beta", "100%", "under_score"]):
        add_entry(db, name, 0.9 - i / 10)
    found = {
        search: [(row.rank, row.model_id) for row in get_board(db, "digits", "L2", BoardFilters(search=search)).rows]
        for search in ("ALPHA", "bet", "%", "_score", "tiny_cnn", "  ", "'; DROP TABLE entry; --", "a\0")
    }
    everything = [(1, "Alpha"), (2, "beta"), (3, "100%"), (4, "under_score")]
    assert found == {
        "ALPHA": everything[:1],
        "bet": everything[1:2],
        "%": everything[2:3],
        "_score": everything[3:],
        "tiny_cnn": everything,
        "  ": everything,
        "'; DROP TABLE entry; --": [],
        "a\0": [],
    }
    assert get_board(db, "digits", "L2", BoardFilters(badge=Badge.EVALUATED)).rows == ()
    assert len(get_board(db, "digits", "L2", BoardFilters(search="a", badge=Badge.REPORTED)).rows) == 4


def shown(view: BoardView) -> list[tuple[int | None, str]]:
    return [(row.rank, row.model_id) for row in view.rows]


@pytest.mark.parametrize("sort", list(Sort))
def test_pages_together_are_the_board(db: Database, sort: Sort) -> None:
    import_reference_boards(db)
    board = ("cifar10", "Linf")
    whole = get_board(db, *board, sort=sort)
    pages = [get_board(db, *board, sort=sort, limit=40, offset=offset) for offset in range(0, 120, 40)]
    assert [len(page.rows) for page in pages] == [40, 40, 19]
    assert [row for page in pages for row in page.rows] == list(whole.rows)
    assert {(page.total, page.matching) for page in [*pages, whole]} == {(99, 99)}
    beyond = get_board(db, *board, sort=sort, limit=40, offset=120)
    assert (beyond.rows, beyond.total, beyond.matching) == ((), 99, 99)


def test_every_order_puts_the_unknown_last_and_ties_in_the_ranking_s_order(db: Database) -> None:
    rows = [
        ("c", "beta", 0.6, 0.7, 0.5),
        ("b", "Alpha", 0.5, None, 0.5),
        ("a", "", 0.4, 0.9, None),
        ("d", "alpha", None, 0.9, 0.9),
    ]
    for model_id, title, best, standard, robust in rows:
        add_entry(db, model_id, best, standard, title=title, robust=robust)
    ranking = {"c": 1, "b": 2, "a": 3, "d": None}
    orders = {Sort.BEST: "cbad", Sort.STANDARD: "adcb", Sort.ROBUST: "dcba", Sort.NAME: "abdc"}
    for sort, order in orders.items():
        assert shown(get_board(db, "digits", "L2", sort=sort)) == [(ranking[name], name) for name in order], sort


def test_a_page_of_a_search_counts_all_that_it_found(db: Database) -> None:
    for i in range(30):
        add_entry(db, f"{'odd' if i % 2 else 'even'} {i:02d}", 0.9 - i / 100)
    page = get_board(db, "digits", "L2", BoardFilters(search="ODD", badge=Badge.REPORTED), limit=4, offset=4)
    assert shown(page) == [(10, "odd 09"), (12, "odd 11"), (14, "odd 13"), (16, "odd 15")]
    assert (page.total, page.matching) == (30, 15)
    none = get_board(db, "digits", "L2", BoardFilters(badge=Badge.EVALUATED), limit=4)
    assert (none.rows, none.total, none.matching) == ((), 30, 0)


def test_points_are_the_board_s_entries_with_both_numbers(db: Database) -> None:
    import_reference_boards(db)
    add_entry(db, "no best", None)
    add_entry(db, "no standard", 0.5, None)
    add_entry(db, "both", 0.5)
    assert [point.model_id for point in list_points(db, "digits", "L2")] == ["both"]
    for filters in (EVERYTHING, BoardFilters(search="wang")):
        rows = get_board(db, "cifar10", "Linf", filters).rows
        assert list_points(db, "cifar10", "Linf", filters) == tuple(
            BoardPoint(
                model_id=row.model_id,
                extra_data=row.extra_data,
                standard_accuracy=row.standard_accuracy,
                best_known_robust_accuracy=row.best_known_robust_accuracy,
                flagged=bool(row.potentially_unreliable),
            )
            for row in rows
            if row.standard_accuracy is not None and row.best_known_robust_accuracy is not None
        )
    assert list_points(db, "cifar10", "Linf", BoardFilters(badge=Badge.EVALUATED)) == ()
    with pytest.raises(NotFound):
        list_points(db, "digits", "L7")


def test_the_first_page_and_the_leaders_are_read_from_an_index(db: Database) -> None:
    fill_board(db, 3_000)
    with db.transaction() as session:
        session.execute(text("ANALYZE"))
    explain = "EXPLAIN" if db.engine.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN"
    plans: list[str] = []

    def look(connection: Connection, cursor: object, statement: str, parameters: tuple[object], *rest: object) -> None:
        if "ORDER BY" in statement and not statement.startswith("EXPLAIN"):
            found = connection.exec_driver_sql(f"{explain} {statement}", parameters)
            plans.append("\n".join(str(row) for row in found))

    event.listen(db.engine, "before_cursor_execute", look)
    list_boards(db)
    get_board(db, "digits", "L2", limit=200)
    event.remove(db.engine, "before_cursor_execute", look)
    leaders, page = plans
    assert leaders.count("ix_entry_ranking") == len(BOARDS)
    assert "ix_entry_ranking" in page


def test_all_boards_are_listed_with_their_leaders(db: Database, blobs: LocalBlobs) -> None:
    import_reference_boards(db)
    published(db, blobs, "weak", broken=200)
    published(db, blobs, "strong", broken=20)
    boards = {f"{board.dataset}/{board.threat_model}": board for board in list_boards(db)}
    assert len(boards) == 10
    digits = boards["digits/Linf"]
    assert (digits.entries, digits.evaluated_entries, digits.epsilon) == (2, 2, "1/5")
    assert digits.leader == get_board(db, "digits", "Linf").rows[0]
    assert digits.leader.model_id == "strong"
    assert (boards["digits/L2"].entries, boards["digits/L2"].leader) == (0, None)
    cifar = boards["cifar10/Linf"]
    assert (cifar.entries, cifar.evaluated_entries) == (99, 0)
    assert cifar.leader == get_board(db, "cifar10", "Linf").rows[0]
    assert (cifar.leader.rank, cifar.leader.best_known_robust_accuracy) == (1, 0.7371)


def test_only_the_published_are_on_the_board(db: Database, blobs: LocalBlobs, rules: Rules) -> None:
    submit(db, blobs, new_submission(blobs, name="waiting"), rules)
    finish_check(db, must_claim(db), [check("odd", CheckOutcome.REJECTED)])
    published(db, blobs, "done")
    assert [row.model_id for row in get_board(db, "digits", "Linf").rows] == ["done"]


def test_a_baseline_is_flagged_and_names_its_zoo_model(db: Database, blobs: LocalBlobs, rules: Rules) -> None:
    ensure_submission(db, blobs, new_submission(blobs, name="Standard"), rules, baseline=True, zoo_id="Standard")
    finish_check(db, must_claim(db), [check()], shard_points=500)
    work = must_claim(db)
    assert finish(db, blobs, work, shard_report(work).to_bytes()) is State.PUBLISHED
    row = get_board(db, "digits", "Linf").rows[0]
    assert (row.baseline, row.zoo_id, row.title) == (True, "Standard", "Standard")


def test_what_does_not_exist_is_not_found(db: Database, blobs: LocalBlobs) -> None:
    with pytest.raises(NotFound):
        get_board(db, "digits", "L7")
    with pytest.raises(NotFound):
        get_model(db, blobs, "nothing", "Linf", "a")
    for unknown in ("a", "a\0"):
        with pytest.raises(NotFound):
            get_model(db, blobs, "digits", "Linf", unknown)


QUERIES: dict[str, tuple[int, Callable[[Database, LocalBlobs, str], object]]] = {
    "list_boards": (2, lambda db, blobs, newest: list_boards(db)),
    "get_board": (2, lambda db, blobs, newest: get_board(db, "digits", "Linf", BoardFilters(search="m"))),
    "list_points": (1, lambda db, blobs, newest: list_points(db, "digits", "Linf", BoardFilters(search="m"))),
    "get_model": (14, lambda db, blobs, newest: get_model(db, blobs, "digits", "Linf", "m0")),
    "get_submission": (5, lambda db, blobs, newest: get_submission(db, newest)),
    "list_open": (5, lambda db, blobs, newest: list_open(db, "digits", "Linf")),
    "list_submissions": (5, lambda db, blobs, newest: list_submissions(db)),
}


def test_the_number_of_queries_does_not_grow(db: Database, blobs: LocalBlobs, rules: Rules) -> None:
    import_reference_boards(db)
    published(db, blobs, "m0")
    for size in (1, 5):
        for i in range(1, size):
            published(db, blobs, f"m{i}")
            submit(db, blobs, new_submission(blobs, name=f"waiting {i}"), rules)
            claim(db, a_worker("w"), 60_000)
        newest = list_submissions(db)[0].id
        for name, (expected, query) in QUERIES.items():
            with counted(db) as statements:
                query(db, blobs, newest)
            selects = [statement for statement in statements if statement.startswith("SELECT")]
            assert len(selects) == expected, (name, size, selects)
