"""What the boards show, in which order, and at which cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import event

from benchmark.errors import NotFound
from benchmark.report import CheckOutcome
from store.blobs import LocalBlobs
from store.boards import get_board, get_model, list_boards
from store.claims import claim
from store.database import Database
from store.outcomes import finish_check, finish_shard
from store.reference import import_reference_boards
from store.submissions import ensure_submission, get_submission, list_submissions, submit
from store.tables import EntryRow
from store.views import Badge, State
from tests.store.material import Rules, a_worker, check, must_claim, new_submission, published, shard_report


def add_entry(
    db: Database, model_id: str, best: float | None, standard: float | None = 0.9, published_ms: int | None = None
) -> None:
    texts = ("authors", "venue", "link", "footnote", "best_known_source")
    with db.transaction() as session:
        session.add(
            EntryRow(
                dataset="digits",
                threat_model="L2",
                model_id=model_id,
                badge=Badge.REPORTED,
                title=f"About {model_id}",
                architecture="tiny_cnn",
                extra_data="unknown",
                findings="[]",
                baseline=False,
                standard_accuracy=standard,
                robust_accuracy=0.99,
                best_known_robust_accuracy=best,
                published_ms=published_ms,
                **dict.fromkeys(texts, ""),
            )
        )


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
        search: [(row.rank, row.model_id) for row in get_board(db, "digits", "L2", search=search).rows]
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
    assert get_board(db, "digits", "L2", badge=Badge.EVALUATED).rows == ()
    assert len(get_board(db, "digits", "L2", search="a", badge=Badge.REPORTED).rows) == 4


def test_all_boards_are_listed_with_their_leaders(db: Database, blobs: LocalBlobs) -> None:
    import_reference_boards(db)
    published(db, blobs, "weak", broken=200)
    published(db, blobs, "strong", broken=20)
    boards = {f"{board.dataset}/{board.threat_model}": board for board in list_boards(db)}
    assert len(boards) == 9
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
    finish_check(db, must_claim(db), [check()])
    work = must_claim(db)
    assert finish_shard(db, blobs, work, shard_report(work).to_bytes()) is State.PUBLISHED
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
    "get_board": (1, lambda db, blobs, newest: get_board(db, "digits", "Linf", search="m")),
    "get_model": (8, lambda db, blobs, newest: get_model(db, blobs, "digits", "Linf", "m0")),
    "get_submission": (5, lambda db, blobs, newest: get_submission(db, newest)),
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
