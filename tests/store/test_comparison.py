"""Entries of a board side by side, from what is stored of them."""

from __future__ import annotations

import pytest

from benchmark.errors import InvalidInput, NotFound
from benchmark.threat_models import CORRUPTIONS
from store.boards import get_board
from store.comparison import compare_entries
from store.reference import import_reference_boards
from store.services import Services
from tests.store.corrupted import publish_corrupted
from tests.store.lowered import judge_examples, send_examples
from tests.web.material import publish, questions


def test_verdicts_of_others_count_and_the_cost_is_fixed(services: Services) -> None:
    db, blobs = services.db, services.blobs
    for name in ("Method A", "Method B", "Method C"):
        publish(services, name)
    judge_examples(services, send_examples(services, "Method B"), broken=(3, 100, 499))
    with questions(services) as asked:
        view = compare_entries(db, blobs, "digits", "Linf", ["Method B", "Method A"])
    with questions(services) as more:
        compare_entries(db, blobs, "digits", "Linf", ["Method A", "Method B", "Method C"])
    assert len(asked) == len(more) == 2
    board = get_board(db, "digits", "Linf")
    assert list(view.entries) == [
        next(row for row in board.rows if row.model_id == name) for name in ("Method B", "Method A")
    ]
    (pair,) = view.comparison.pairs
    # The third point is misclassified by both without an attack; the evaluations agree on all points.
    assert (pair.only_a_points, pair.only_b_points) == ((), (100, 499))
    assert (pair.both, pair.neither, pair.p_value) == (438, 60, 0.5)
    assert view.comparison.stages[-1].accuracies == (0.88, 0.88)


def test_on_a_board_of_corruptions_types_are_compared(services: Services) -> None:
    db, blobs = services.db, services.blobs
    publish_corrupted(db, blobs, "Method A", losses=(5, 30))
    publish_corrupted(db, blobs, "Method B", losses=(0, 5))
    comparison = compare_entries(db, blobs, "digits", CORRUPTIONS, ["Method A", "Method B"]).comparison
    assert [stage.after for stage in comparison.stages] == ["clean"]
    assert [row.accuracies for row in comparison.corruptions] == [(1, 1)] * 9 + [(0.5, 1)] * 5 + [(0, 0.5)]
    assert (comparison.pairs[0].only_a, comparison.pairs[0].only_b) == (0, 250)


@pytest.mark.parametrize(
    ("names", "found", "error"),
    [
        ([], "0 entries", InvalidInput),
        (["Method A"], "1 entries", InvalidInput),
        (["Method A", "Method A"], "'Method A' twice", InvalidInput),
        (["a", "b", "c", "d", "e", "f"], "6 entries", InvalidInput),
        (["Method A", "Nobody's"], '"Nobody\'s"', NotFound),
        (["Method A", "method a"], "'method a'", NotFound),
    ],
)
def test_a_choice_that_cannot_be_is_refused(
    services: Services, names: list[str], found: str, error: type[InvalidInput]
) -> None:
    publish(services, "Method A")
    with pytest.raises(error) as caught:
        compare_entries(services.db, services.blobs, "digits", "Linf", names)
    assert caught.value.detail is not None
    assert (caught.value.detail.field, caught.value.detail.found) == ("model", found)


def test_entries_of_which_no_points_are_known_are_refused(services: Services) -> None:
    import_reference_boards(services.db)
    names = [row.model_id for row in get_board(services.db, "cifar10", "Linf", limit=2).rows]
    with pytest.raises(InvalidInput, match="not evaluated here"):
        compare_entries(services.db, services.blobs, "cifar10", "Linf", names)
    with pytest.raises(NotFound):
        compare_entries(services.db, services.blobs, "cifar10", "none", names)
