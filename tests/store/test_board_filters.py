"""Which entries a board shows, in which order, and as of when."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from benchmark.errors import InvalidInput
from store.as_of import read_moment
from store.blobs import LocalBlobs
from store.board_filters import BoardFilters
from store.boards import get_board, get_model, list_boards, list_points
from store.database import Database
from store.tables import EntryHistoryRow, EntryRow
from store.views import Badge, ExtraData, Order, Sort
from tests.store.material import board_entry, published
from tests.store.test_boards import counted, shown

BOARD = ("digits", "L2")


def add(db: Database, model_id: str, best: object = 0.5, **columns: object) -> None:
    with db.transaction() as session:
        entry = board_entry(model_id, None)
        entry.best_known_robust_accuracy = best  # type: ignore[assignment]
        for name, value in columns.items():
            setattr(entry, name, value)
        session.add(entry)


def names(db: Database, **filters: object) -> set[str]:
    asked = BoardFilters.model_validate(filters)
    view = get_board(db, *BOARD, asked)
    assert view.matching == len(view.rows)
    assert {point.model_id for point in list_points(db, *BOARD, asked)} <= {row.model_id for row in view.rows}
    return {row.model_id for row in view.rows}


def test_every_filter_hides_what_does_not_fit(db: Database) -> None:
    add(db, "a", 0.1, extra_data="real", architecture="WideResNet-28-10", venue="NeurIPS 2019", parameters=1_000)
    add(db, "b", 0.2, standard_accuracy=0.7, potentially_unreliable=True, baseline=True, parameters=2**40)
    add(db, "c", 0.3, findings='["zero_gradient"]', potentially_unreliable=False, venue="100% sure_")
    add(db, "d", None, standard_accuracy=None)
    assert names(db) == set("abcd")
    assert names(db, extra_data=ExtraData.REAL) == {"a"}
    assert names(db, architecture="resnet-28") == names(db, venue="neurips") == {"a"}
    assert names(db, venue="0%") == names(db, venue="e_") == {"c"}
    assert names(db, flagged=True) == {"b", "c"}
    assert names(db, flagged=False) == {"a", "d"}
    assert names(db, baseline=True) == {"b"}
    assert names(db, baseline=False) == set("acd")
    assert names(db, minimum_standard_accuracy=0.7, maximum_standard_accuracy=0.7) == {"b"}
    assert names(db, minimum_robust_accuracy=0.2) == {"b", "c"}
    assert names(db, maximum_robust_accuracy=0.2) == {"a", "b"}
    assert names(db, minimum_parameters=1_001) == {"b"}
    assert names(db, maximum_parameters=1_000) == {"a"}
    assert names(db, flagged=True, maximum_robust_accuracy=0.25, search="about b") == {"b"}


def test_what_is_withdrawn_or_of_an_old_protocol_is_hidden_and_never_ranks(db: Database, blobs: LocalBlobs) -> None:
    evaluated = {"badge": Badge.EVALUATED, "protocol": "standard-0"}
    add(db, "withdrawn", 0.9, withdrawn_ms=5, withdrawn_reason="It looked at the labels.")
    add(db, "old", 0.8, **evaluated)
    add(db, "somebody says", 0.7, badge=Badge.UNVERIFIED)
    add(db, "first", 0.6)
    add(db, "second", 0.5, **(evaluated | {"protocol": "standard-1"}))
    assert shown(get_board(db, *BOARD)) == [(None, "somebody says"), (1, "first"), (2, "second")]
    assert get_board(db, *BOARD).total == 3
    everything = get_board(db, *BOARD, BoardFilters(withdrawn=True, old_protocol=True))
    assert shown(everything)[:2] == [(None, "withdrawn"), (None, "old")]
    assert (everything.total, everything.rows[0].withdrawn_reason) == (5, "It looked at the labels.")
    assert [row.old_protocol for row in everything.rows] == [False, True, False, False, False]
    assert shown(get_board(db, *BOARD, BoardFilters(withdrawn=True)))[0] == (None, "withdrawn")
    summary = next(board for board in list_boards(db) if (board.dataset, board.threat_model) == BOARD)
    assert (summary.entries, summary.evaluated_entries) == (3, 1)
    assert summary.leader is not None
    assert summary.leader.model_id == "first"
    assert get_model(db, blobs, *BOARD, "withdrawn").row.rank is None
    assert "withdrawn" not in {point.model_id for point in list_points(db, *BOARD)}


def test_an_anonymous_entry_tells_nobody_s_name(db: Database) -> None:
    add(db, "Hidden", title="The title", authors="Jane Doe", venue="ICLR", link="https://example.org", anonymous=True)
    (row,) = get_board(db, *BOARD).rows
    assert (row.title, row.authors, row.venue, row.link, row.anonymous) == ("Hidden", "", "", "", True)
    assert names(db, search="jane") == names(db, search="iclr") == names(db, search="the title") == set()
    assert names(db, search="hidd") == {"Hidden"}


COLUMNS: dict[Sort, tuple[str, object, object, object]] = {
    Sort.BEST: ("best_known_robust_accuracy", 0.1, 0.2, None),
    Sort.STANDARD: ("standard_accuracy", 0.1, 0.2, None),
    Sort.ROBUST: ("robust_accuracy", 0.1, 0.2, None),
    Sort.NAME: ("title", "alpha", "Beta", "zeta"),
    Sort.RELIABILITY: ("potentially_unreliable", False, True, None),
    Sort.EXTRA_DATA: ("extra_data", "none", "real", "unknown"),
    Sort.ARCHITECTURE: ("architecture", "alexnet", "ResNet", ""),
    Sort.VENUE: ("venue", "arXiv", "ICLR", ""),
    Sort.ZOO_ID: ("zoo_id", "a", "B", None),
    Sort.MCE: ("mce", 50.0, 100.0, None),
    Sort.CLAIMED: ("claimed_robust_accuracy", 0.1, 0.2, None),
    Sort.PARAMETERS: ("parameters", 10, 2**40, None),
    Sort.PUBLISHED: ("published_ms", 1, 2, None),
}
"""What to sort by: a column with a small value, a large one, and what stands for none."""


def test_every_column_sorts_both_ways_with_the_unknown_last(db: Database) -> None:
    assert set(COLUMNS) == set(Sort)
    for place, name in enumerate(("small", "large", "unknown"), start=1):
        values = {column[0]: column[place] for column in COLUMNS.values()}
        add(db, name, values.pop("best_known_robust_accuracy"), **values)
    for sort in Sort:
        ways = {
            order: [row.model_id for row in get_board(db, *BOARD, sort=sort, order=order).rows]
            for order in (None, *Order)
        }
        last = ["unknown"]  # a name is never unknown
        falling = ["unknown", "large", "small"] if sort is Sort.NAME else ["large", "small", *last]
        assert ways[Order.ASCENDING] == ["small", "large", *last], sort
        assert ways[Order.DESCENDING] == falling, sort
        assert ways[None] in (ways[Order.ASCENDING], ways[Order.DESCENDING])


def rewrite_history(db: Database, model_id: str, times: list[tuple[int, str, float, int | None]]) -> None:
    """Give an entry a history, and the number that it ends with."""
    with db.transaction() as session:
        entry = session.scalars(select(EntryRow).where(EntryRow.model_id == model_id)).one()
        for item in session.scalars(select(EntryHistoryRow).where(EntryHistoryRow.entry_id == entry.id)):
            session.delete(item)
        session.flush()
        for at, source, robust, newly in times:
            session.add(
                EntryHistoryRow(
                    entry_id=entry.id,
                    source=source,
                    standard_accuracy=0.98,
                    robust_accuracy=robust,
                    newly_broken=newly,
                    recorded_ms=at,
                )
            )
            session.flush()
        entry.published_ms, entry.best_known_robust_accuracy = times[0][0], times[-1][2]


def test_a_board_as_it_stood(db: Database, blobs: LocalBlobs) -> None:
    published(db, blobs, "A")
    published(db, blobs, "B")
    rewrite_history(db, "A", [(1_000, "own", 0.8, None), (3_000, "nothing new", 0.8, 0), (5_000, "Doe", 0.3, 9)])
    rewrite_history(db, "B", [(2_000, "own", 0.5, None)])
    board = ("digits", "Linf")

    def at(moment: int) -> list[tuple[int | None, str, float | None, str]]:
        view = get_board(db, *board, as_of_ms=moment)
        assert (view.as_of_ms, view.total, view.matching) == (moment, len(view.rows), len(view.rows))
        plotted = [
            (point.model_id, point.best_known_robust_accuracy) for point in list_points(db, *board, as_of_ms=moment)
        ]
        assert plotted == [(row.model_id, row.best_known_robust_accuracy) for row in view.rows]
        return [(row.rank, row.model_id, row.best_known_robust_accuracy, row.best_known_source) for row in view.rows]

    assert at(999) == []
    assert at(1_000) == [(1, "A", 0.8, "own")]
    assert at(4_999) == [(1, "A", 0.8, "own"), (2, "B", 0.5, "own")]
    assert at(5_000) == [(1, "B", 0.5, "own"), (2, "A", 0.3, "own + Doe")]
    high = BoardFilters(minimum_robust_accuracy=0.6)
    assert shown(get_board(db, *board, high, as_of_ms=4_000, limit=1)) == [(1, "A")]
    assert get_board(db, *board, high).rows == ()


def test_a_reported_entry_is_there_since_it_was_recorded(db: Database) -> None:
    add(db, "never recorded")
    add(db, "published", published_ms=10)
    add(db, "recorded", 0.4)
    with db.transaction() as session:
        entry = session.scalars(select(EntryRow).where(EntryRow.model_id == "recorded")).one()
        numbers = {"standard_accuracy": 0.1, "robust_accuracy": 0.2}
        session.add(EntryHistoryRow(entry_id=entry.id, source="a paper", recorded_ms=20, **numbers))
    assert [row.model_id for row in get_board(db, *BOARD, as_of_ms=19).rows] == ["published"]
    rows = get_board(db, *BOARD, as_of_ms=20).rows
    # Which number it bore then nobody wrote down: the present one is shown.
    assert [(row.model_id, row.best_known_robust_accuracy) for row in rows] == [("published", 0.5), ("recorded", 0.4)]


def test_the_past_takes_a_fixed_number_of_queries(db: Database, blobs: LocalBlobs) -> None:
    for size in (1, 4):
        for number in range(size):
            if size == 4 or number == 0:
                published(db, blobs, f"m{size}{number}")
        with counted(db) as statements:
            get_board(db, "digits", "Linf", sort=Sort.VENUE, as_of_ms=2**50, limit=10)
        assert len([one for one in statements if one.startswith("SELECT")]) == 3


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1970-01-01", 86_399_999),
        ("1970-01-02T00:00:00", 86_400_000),
        ("1970-01-02T00:00:00.5Z", 86_400_500),
        ("1970-01-02T02:00:00+02:00", 86_400_000),
    ],
)
def test_reads_a_moment(text: str, moment: int) -> None:
    assert read_moment(text) == moment


@pytest.mark.parametrize(
    "text", ["", "now", "1969-12-31", "9999-12-31", "2026-02-30", "2026-01-01T25:00", "12345", "٢٠٢٦-01-01", "a\0"]
)
def test_refuses_what_is_no_moment(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_moment(text)
    assert caught.value.detail is not None
    assert caught.value.detail.field == "as_of"
