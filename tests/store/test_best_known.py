"""The best known robust accuracy: the worst case over all evaluations, whoever comes first and however many at once."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import Session

from benchmark.report import Points
from store.again import OWN_SOURCE
from store.best_known import Contribution, broken_by_second, broken_in, contribute, points_sha256
from store.blobs import LocalBlobs
from store.boards import get_model
from store.claims import Claim
from store.database import Database
from store.tables import EntryHistoryRow, EntryRow
from store.views import ModelView
from tests.store.interleaving import at_once, interleaved
from tests.store.material import must_claim, published, running, shard_report, with_second

NAME = "Method A"
OWN = f"{OWN_SOURCE}, standard-1"
LEFT = 440
"""Points that the entry's own evaluation has left, of 500: 0 to 9 are misclassified, 10 to 59 broken."""


def counted(_session: Session, _newly_broken: int) -> bool:
    """Nothing else belongs to the transaction."""
    return True


@pytest.fixture
def entry(db: Database, blobs: LocalBlobs) -> int:
    """An entry, by its id."""
    published(db, blobs, NAME)
    with db.snapshot() as session:
        return session.scalars(select(EntryRow.id)).one()


def breaking(source: str, indices: Sequence[int], distance: float = 0.1) -> Contribution:
    return Contribution(source, dict.fromkeys(indices, (source, distance)))


def add(db: Database, blobs: LocalBlobs, entry: int, contribution: Contribution) -> None:
    contribute(db, blobs, entry, contribution, counted)


def model(db: Database, blobs: LocalBlobs) -> ModelView:
    return get_model(db, blobs, "digits", "Linf", NAME)


def worst(db: Database, blobs: LocalBlobs, entry: int) -> Points:
    with db.snapshot() as session:
        return Points.from_bytes(blobs.read(points_sha256(session, session.get_one(EntryRow, entry))))


def history(view: ModelView) -> list[tuple[str, int | None]]:
    return [(item.source, item.newly_broken) for item in view.history]


def test_the_worst_case_counts_point_by_point(db: Database, blobs: LocalBlobs, entry: int) -> None:
    before = model(db, blobs)
    assert before.row.best_known_robust_accuracy == before.row.robust_accuracy == LEFT / 500
    assert worst(db, blobs, entry).robust == (False,) * 60 + (True,) * LEFT
    add(db, blobs, entry, breaking("one", [5, 20, 100, 101]))
    add(db, blobs, entry, breaking("nothing new", [5, 20, 100]))
    add(db, blobs, entry, breaking("nothing", []))
    add(db, blobs, entry, breaking("other", [101, 499], distance=0.2))
    after = model(db, blobs)
    assert after.row.best_known_robust_accuracy == (LEFT - 3) / 500
    assert after.row.best_known_source == f"{OWN} + one + other"
    assert history(after) == [(OWN, None), ("one", 2), ("nothing new", 0), ("nothing", 0), ("other", 1)]
    left = [item.robust_accuracy for item in after.history]
    assert left == [count / 500 for count in (440, 438, 438, 438, 437)]
    assert {item.standard_accuracy for item in after.history} == {before.row.standard_accuracy}
    # Its own number stays, and so does the report with its points.
    assert (after.row.robust_accuracy, after.report) == (LEFT / 500, before.report)
    points = worst(db, blobs, entry)
    who = dict(zip(points.index, zip(points.broken_by, points.distance, strict=True), strict=True))
    assert [who[index] for index in (5, 20, 100, 101, 499)] == [
        ("clean", 0.0),
        ("apgd-ce", 0.2),
        ("one", 0.1),
        ("one", 0.1),
        ("other", 0.2),
    ]


def test_points_that_the_entry_does_not_have_count_for_nothing(db: Database, blobs: LocalBlobs, entry: int) -> None:
    add(db, blobs, entry, breaking("one", [100, 500, 10_000]))
    assert history(model(db, blobs))[1:] == [("one", 1)]


def test_what_is_concluded_already_writes_nothing(db: Database, blobs: LocalBlobs, entry: int) -> None:
    add(db, blobs, entry, breaking("one", [100]))
    before, points = model(db, blobs), worst(db, blobs, entry)
    told: list[int] = []

    def concluded(_session: Session, newly_broken: int) -> bool:
        told.append(newly_broken)
        return False

    contribute(db, blobs, entry, breaking("two", [100, 101, 102]), concluded)
    assert told == [2]
    assert (model(db, blobs), worst(db, blobs, entry)) == (before, points)


def test_what_fails_writes_nothing(db: Database, blobs: LocalBlobs, entry: int) -> None:
    before, points = model(db, blobs), worst(db, blobs, entry)

    def fail(_session: Session, _newly_broken: int) -> bool:
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        contribute(db, blobs, entry, breaking("one", [100]), fail)
    assert (model(db, blobs), worst(db, blobs, entry)) == (before, points)


@pytest.mark.parametrize(
    "broken", [{100: ("clean", 0.1)}, {100: ("", 0.1)}, {100: ("x" * 101, 0.1)}, {100: ("one", float("nan"))}]
)
def test_what_breaks_a_point_has_a_name_and_a_distance(
    on_sqlite: Database, blobs: LocalBlobs, broken: Mapping[int, tuple[str, float]]
) -> None:
    published(on_sqlite, blobs, NAME)
    before = model(on_sqlite, blobs)
    with pytest.raises(ValueError, match="point 100: "):
        add(on_sqlite, blobs, 1, Contribution("one", broken))
    assert model(on_sqlite, blobs) == before


def test_many_sources_are_cut(db: Database, blobs: LocalBlobs, entry: int) -> None:
    for number in range(5):
        add(db, blobs, entry, breaking(f"{number}" * 70, [100 + number]))
    source = model(db, blobs).row.best_known_source
    assert source == f"{' + '.join([OWN, *(str(number) * 70 for number in range(5))])[:300]}…"


def reset(db: Database, entry: int) -> None:
    """Forget all but the entry's own evaluation."""
    with db.transaction() as session:
        row = session.get_one(EntryRow, entry)
        row.best_known_sha256, row.best_known_robust_accuracy, row.best_known_source = None, LEFT / 500, OWN
        for item in session.scalars(select(EntryHistoryRow).order_by(EntryHistoryRow.id)).all()[1:]:
            session.delete(item)


SETS = st.lists(st.sets(st.integers(0, 80), max_size=30), min_size=1, max_size=4)


def test_the_order_does_not_matter_and_the_value_never_rises(db: Database, blobs: LocalBlobs, entry: int) -> None:
    @settings(max_examples=8)
    @given(SETS, st.randoms(use_true_random=False))
    def check(sets: list[set[int]], chance: random.Random) -> None:
        results = []
        numbered = list(enumerate(sets))
        for _ in range(2):
            reset(db, entry)
            for number, indices in numbered:
                before = model(db, blobs).row.best_known_robust_accuracy
                add(db, blobs, entry, breaking(f"evaluation {number}", sorted(indices)))
                after = model(db, blobs).row.best_known_robust_accuracy
                assert before is not None
                assert after is not None
                assert after <= before
            results.append((model(db, blobs).row.best_known_robust_accuracy, worst(db, blobs, entry).robust))
            chance.shuffle(numbered)
        broken = {*range(60)}.union(*sets)
        assert results == [(1 - len(broken) / 500, tuple(index not in broken for index in range(500)))] * 2
        assert sum(item.newly_broken or 0 for item in model(db, blobs).history) == len(broken) - 60

    check()


def test_nothing_is_lost_where_many_contribute_at_once(db: Database, blobs: LocalBlobs, entry: int) -> None:
    """Each breaks ten points of its own, and all of them ten more, which one of them alone is the first to break."""
    shared = list(range(400, 410))
    contributions = [
        breaking(f"evaluation {number}", [*range(100 + 10 * number, 110 + 10 * number), *shared]) for number in range(6)
    ]
    outcomes = at_once(*[partial(add, db, blobs, entry, each) for each in contributions])
    assert [outcome.error for outcome in outcomes] == [None] * 6
    after = model(db, blobs)
    assert after.row.best_known_robust_accuracy == (LEFT - 70) / 500
    assert sorted(newly or 0 for _, newly in history(after)[1:]) == [10] * 5 + [20]
    assert sorted(source for source, _ in history(after)[1:]) == [each.source for each in contributions]
    assert [item.robust_accuracy for item in after.history] == sorted(
        (item.robust_accuracy for item in after.history), key=lambda value: -(value or 0)
    )
    robust = worst(db, blobs, entry).robust
    assert [index for index in range(60, 500) if not robust[index]] == [*range(100, 160), *shared]


def test_nothing_is_lost_wherever_another_comes_in_between(db: Database, blobs: LocalBlobs, entry: int) -> None:
    first, second = breaking("first", [100, 101]), breaking("second", [101, 102])
    step, steps = 0, 1
    while step < steps:
        reset(db, entry)
        one, other = interleaved(
            db, partial(add, db, blobs, entry, first), partial(add, db, blobs, entry, second), step
        )
        assert (one.error, other.error) == (None, None), step
        steps = max(steps, one.steps)
        after = model(db, blobs)
        assert after.row.best_known_robust_accuracy == (LEFT - 3) / 500, step
        assert sorted(newly or 0 for _, newly in history(after)[1:]) == [1, 2], step
        step += 1
    assert steps > 3


def a_shard(db: Database, blobs: LocalBlobs) -> Claim:
    running(db, blobs, NAME)
    return must_claim(db)


def test_what_reports_have_broken(on_sqlite: Database, blobs: LocalBlobs) -> None:
    report = shard_report(a_shard(on_sqlite, blobs), misclassified=10, broken=2, by_square=1)
    assert broken_in(report, "follow-up-1") == {
        10: ("follow-up-1 apgd-ce", 0.2),
        11: ("follow-up-1 apgd-ce", 0.2),
        12: ("follow-up-1 square", 0.2),
    }
    assert broken_by_second(report) == {}
    assert broken_by_second(with_second(report, attacked=8, broken=2)) == {
        13: ("unannounced spsa", 0.2),
        14: ("unannounced spsa", 0.2),
    }
