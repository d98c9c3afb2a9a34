"""Which entries are not told apart from a better one, by hand and by a slow way that goes by the definition."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update

from benchmark.statistics import paired
from store.best_known import Contribution, contribute
from store.blobs import Blobs, LocalBlobs
from store.board_filters import BoardFilters
from store.boards import get_board
from store.database import Database
from store.errors import StorageUnavailable
from store.tables import EntryRow, ReportRow
from store.ties import KEEPING_BYTES, LEVEL, Compared, KnownVerdicts, best_of_groups, find_ties, pack
from store.views import Badge, Ties
from tests.store.corrupted import publish_corrupted
from tests.store.evaluated import add_evaluated, points_of
from tests.store.material import published
from tests.store.test_boards import counted

BOARD = ("digits", "L2")
POINTS = 100


def left(count: int) -> list[bool]:
    """Verdicts by which the last so many of 100 points are robust."""
    return [number >= POINTS - count for number in range(POINTS)]


def told(db: Database, blobs: Blobs, **filters: object) -> dict[str, str | None]:
    board = get_board(db, *BOARD, BoardFilters.model_validate(filters), verdicts=KnownVerdicts(blobs))
    assert board.ties is Ties.TOLD
    return {row.model_id: row.tied_with for row in board.rows}


def by_hand(entries: Sequence[Sequence[bool]]) -> list[int | None]:
    """The same by the definition: every p-value exact, and Holm's procedure step by step."""
    leaders: list[int | None] = [None] * len(entries)
    waiting = list(range(len(entries)))
    while waiting:
        best, *others = waiting
        tests = sorted((paired(entries[best], entries[other]).p_value, other) for other in others)
        apart = []
        while tests and len(tests) * tests[0][0] <= LEVEL:
            apart.append(tests.pop(0)[1])
        for _, other in tests:
            leaders[other] = best
        waiting = sorted(apart)
    return leaders


def test_ties_by_hand(db: Database, blobs: LocalBlobs) -> None:
    # Each breaks all that the better one lost, and more: of so many points that differ none speaks for the worse entry,
    # by chance once in 2 to the power of one less. So 5 may be chance (1/16), and 6 alone would not be (1/32).
    names = {"best": 90, "five": 85, "six": 84, "far": 50, "near": 47, "poor": 10}
    add_evaluated(db, blobs, [(name, left(count)) for name, count in names.items()])
    assert told(db, blobs) == {
        "best": None,
        "five": "best",
        "six": "best",  # after the three that are told apart two are left: 1/32 is held against 0.05 / 2
        "far": None,
        "near": "far",
        "poor": None,
    }


def test_holm_s_correction_and_no_other_is_made(db: Database, blobs: LocalBlobs) -> None:
    # Without a correction six points were enough, and with Bonferroni's they were not: 2/32 is above 0.05.
    add_evaluated(db, blobs, [("best", left(90)), ("six", left(84)), ("far", left(20))])
    assert told(db, blobs) == {"best": None, "six": None, "far": None}
    add_evaluated(db, blobs, [("five", left(85))])
    assert told(db, blobs) == {"best": None, "five": "best", "six": "best", "far": None}


VERDICTS = st.integers(1, 40).flatmap(
    lambda points: st.lists(st.lists(st.booleans(), min_size=points, max_size=points), max_size=12)
)


@given(entries=VERDICTS)
@settings(deadline=None)
def test_groups_are_those_of_the_definition(entries: list[list[bool]]) -> None:
    entries.sort(key=sum, reverse=True)
    packed = tuple(pack(points_of(robust).to_bytes()) for robust in entries)
    assert list(best_of_groups(packed)) == by_hand(entries)


def test_groups_of_a_whole_board_are_those_of_the_definition() -> None:
    draw = random.Random(7)  # noqa: S311 - it hides nothing
    entries = [[draw.random() < 1 - number / 80 for _ in range(500)] for number in range(80)]
    entries.sort(key=sum, reverse=True)
    found = best_of_groups(tuple(pack(points_of(robust).to_bytes()) for robust in entries))
    assert list(found) == by_hand(entries)
    assert 5 < len({leader for leader in found if leader is not None}) < 40


def test_verdicts_on_other_points_are_not_compared() -> None:
    same, other = points_of(left(50)), points_of(left(50), first=1)
    packed = tuple(pack(points.to_bytes()) for points in (same, other, same, other))
    assert best_of_groups(packed) == (None, None, 0, 1)
    assert best_of_groups(()) == ()


def test_only_what_was_evaluated_here_and_ranks_is_compared(db: Database, blobs: LocalBlobs) -> None:
    add_evaluated(db, blobs, [(name, left(80)) for name in ("a", "b", "withdrawn", "old", "reported", "z")])
    changes: dict[str, dict[str, object]] = {
        "withdrawn": {"withdrawn_ms": 1},
        "old": {"protocol": "standard-0"},
        "reported": {"badge": Badge.REPORTED},
    }
    with db.transaction() as session:
        for name, values in changes.items():
            session.execute(update(EntryRow).where(EntryRow.model_id == name).values(**values))
    everything = told(db, blobs, withdrawn=True, old_protocol=True)
    assert everything == dict.fromkeys(("a", "withdrawn", "old", "reported")) | {"b": "a", "z": "a"}
    # What is shown of the board does not matter.
    assert told(db, blobs, search="z") == {"z": "a"}


def test_what_others_broke_counts(db: Database, blobs: LocalBlobs) -> None:
    add_evaluated(db, blobs, [("a", left(90)), ("b", left(90))])
    verdicts = KnownVerdicts(blobs)
    assert get_board(db, *BOARD, verdicts=verdicts).rows[1].tied_with == "a"
    with db.snapshot() as session:
        entry = session.scalars(select(EntryRow.id).where(EntryRow.model_id == "b")).one()
    broken = dict.fromkeys(range(60, 90), ("Doe", 0.5))
    contribute(db, blobs, entry, Contribution("Doe", broken), lambda session, newly_broken: newly_broken == 30)
    assert get_board(db, *BOARD, verdicts=verdicts).rows[1].tied_with is None


def test_evaluations_from_end_to_end_are_compared(db: Database, blobs: LocalBlobs) -> None:
    for name, broken in (("best", 50), ("near", 52), ("far", 100)):
        published(db, blobs, name, broken=broken)
    board = get_board(db, "digits", "Linf", verdicts=KnownVerdicts(blobs))
    assert [(row.model_id, row.tied_with) for row in board.rows] == [("best", None), ("near", "best"), ("far", None)]


def test_nothing_is_compared_in_the_past_and_where_nobody_attacks(db: Database, blobs: LocalBlobs) -> None:
    add_evaluated(db, blobs, [("a", left(90))])
    verdicts = KnownVerdicts(blobs)
    assert get_board(db, *BOARD, verdicts=verdicts).ties is Ties.NOT_TOLD  # there is nothing to compare it with
    add_evaluated(db, blobs, [("b", left(90))])
    assert get_board(db, *BOARD, verdicts=verdicts).ties is Ties.TOLD
    for view in (get_board(db, *BOARD, verdicts=verdicts, as_of_ms=2**50), get_board(db, *BOARD)):
        assert (len(view.rows), view.ties, {row.tied_with for row in view.rows}) == (2, Ties.NOT_TOLD, {None})
    for name in ("Plain", "Other"):
        publish_corrupted(db, blobs, name)
    corrupted = get_board(db, "digits", "corruptions", verdicts=verdicts)
    assert (len(corrupted.rows), corrupted.ties) == (2, Ties.NOT_TOLD)


def test_an_entry_whose_verdicts_are_lost_or_damaged_is_left_out(db: Database, blobs: LocalBlobs) -> None:
    add_evaluated(db, blobs, [("a", left(90)), ("lost", left(89)), ("cut off", left(88)), ("d", left(87))])
    with db.snapshot() as session:
        query = select(EntryRow.model_id, ReportRow.points_sha256).join(ReportRow, ReportRow.id == EntryRow.report_id)
        places = {name: blobs.place(sha256) for name, sha256 in session.execute(query)}
    places["lost"].unlink()
    places["cut off"].write_bytes(places["cut off"].read_bytes()[:-20])
    assert told(db, blobs) == {"a": None, "lost": None, "cut off": None, "d": "a"}


class OutOfReach(LocalBlobs):
    """Blobs on a machine that does not answer."""

    def read(self, sha256: str) -> bytes:
        raise StorageUnavailable(f"{sha256} is out of reach")


def test_a_board_is_shown_though_its_verdicts_are_out_of_reach(db: Database, blobs: LocalBlobs) -> None:
    add_evaluated(db, blobs, [("a", left(90)), ("b", left(90))])
    board = get_board(db, *BOARD, verdicts=KnownVerdicts(OutOfReach(blobs.root)))
    assert (len(board.rows), board.ties, board.rows[1].tied_with) == (2, Ties.UNAVAILABLE, None)


def test_verdicts_are_read_once_and_do_not_fill_the_memory(blobs: LocalBlobs) -> None:
    places = [blobs.put(points_of(left(count)).to_bytes()) for count in range(20)]
    few = KnownVerdicts(blobs, most_bytes=5 * (KEEPING_BYTES + POINTS // 8 + 1))
    packed = [few.read(sha256) for sha256 in places]
    assert few.kept == 5
    assert [few.read(sha256) for sha256 in places] == packed
    for sha256 in places:
        blobs.remove(sha256)
    assert [few.read(sha256) for sha256 in places] == [None] * 15 + packed[15:]
    assert find_ties([Compared(str(number), sha256) for number, sha256 in enumerate(places)], few) == {
        str(number): "15" for number in range(16, 20)
    }


def test_ties_take_one_query_more(db: Database, blobs: LocalBlobs) -> None:
    verdicts = KnownVerdicts(blobs)
    for size in (1, 6):
        add_evaluated(db, blobs, [(f"{size} {number}", left(80 - number)) for number in range(size)])
        with counted(db) as statements:
            get_board(db, *BOARD, verdicts=verdicts, limit=3)
        assert len([one for one in statements if one.startswith("SELECT")]) == 3


@pytest.mark.parametrize("robust", [[True] * 3, [False] * 3, [True, False, True]])
def test_packing_keeps_every_verdict(robust: list[bool]) -> None:
    assert [bool(pack(points_of(robust).to_bytes()).robust >> place & 1) for place in (2, 1, 0)] == robust
