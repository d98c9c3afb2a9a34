"""What each attack or type of corruption has left, entry by entry."""

from __future__ import annotations

import pytest

from benchmark.errors import NotFound
from store.blobs import LocalBlobs
from store.boards import get_model
from store.breakdowns import MOST_BREAKDOWNS, Breakdown, list_breakdowns
from store.database import Database
from tests.store.corrupted import publish_corrupted
from tests.store.evaluated import add_evaluated
from tests.store.material import board_entry, published
from tests.store.test_boards import counted


def test_a_breakdown_is_what_the_report_says(db: Database, blobs: LocalBlobs) -> None:
    published(db, blobs, "a")
    published(db, blobs, "b", broken=100)
    for name in ("a", "b"):
        report = get_model(db, blobs, "digits", "Linf", name).report
        assert report is not None
        (found,) = list_breakdowns(db, "digits", "Linf", [name]).values()
        assert found == Breakdown(
            accuracies={attack.name: attack.robust_accuracy_after for attack in report.attacks},
            forward_passes=sum(attack.forward_passes for attack in report.attacks),
            backward_passes=sum(attack.backward_passes for attack in report.attacks),
        )
        assert list(found.accuracies) == ["apgd-ce", "square"]


def test_of_corruptions_it_has_the_mean_of_each_type(db: Database, blobs: LocalBlobs) -> None:
    # The last cells are lost: all severities of the last type but one, and one of the type before it.
    report = publish_corrupted(db, blobs, "a", losses=(6, 4))
    (found,) = list_breakdowns(db, "digits", "corruptions", ["a"]).values()
    assert len(found.accuracies) == 15
    *others, before, last = found.accuracies.values()
    assert others == [1.0] * 13
    assert [before, last] == pytest.approx([0.9, 0.1])
    assert sum(found.accuracies.values()) / 15 == pytest.approx(report.robust_accuracy)
    assert (found.forward_passes, found.backward_passes) == (500 * 76, 0)


def test_only_evaluated_entries_that_are_asked_for_have_one(db: Database, blobs: LocalBlobs) -> None:
    add_evaluated(db, blobs, [(name, [True] * 4) for name in "abc"])
    with db.transaction() as session:
        session.add(board_entry("reported", 0.5))
    with counted(db) as statements:
        assert set(list_breakdowns(db, "digits", "L2", ["a", "c", "reported", "unknown"])) == {"a", "c"}
    assert len([one for one in statements if one.startswith("SELECT")]) == 1
    assert list_breakdowns(db, "digits", "Linf", ["a"]) == list_breakdowns(db, "digits", "L2", []) == {}
    assert set(list_breakdowns(db, "digits", "L2", [*map(str, range(MOST_BREAKDOWNS - 1)), "a", "b"])) == {"a"}
    with pytest.raises(NotFound):
        list_breakdowns(db, "digits", "L7", ["a"])
