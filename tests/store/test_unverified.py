"""Unverified entries: on a board without a rank, bounded, gone in time, and replaced by what is evaluated."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from benchmark.errors import Conflict, InvalidSubmission, NotFound
from store.actors import ANYBODY, Actor, Forbidden, Role, Scope, SignInNeeded
from store.audit import list_audit
from store.blobs import Blobs, LocalBlobs
from store.board_filters import BoardFilters
from store.boards import get_board, get_model, list_boards
from store.database import DAY_MS, Database
from store.deliveries import list_notices
from store.endings import warn_of_ends
from store.errors import QueueFull
from store.outcomes import finish_check
from store.rendered import standing_of
from store.submissions import require_admissible, submit
from store.sweeping import sweep
from store.tables import EntryHistoryRow, EntryRow
from store.unverified import MOST_EACH, NewUnverified, add_unverified, remove_unverified
from store.views import Badge
from tests.store.material import Rules, board_entry, check, finish, must_claim, new_submission, shard_report
from tests.store.people import person

BOARD = ("digits", "Linf")
PLACE = ("digits", "Linf", "Own Run")


def new(**changes: object) -> NewUnverified:
    fields: dict[str, object] = {
        "name": "Own Run",
        "title": "On our own",
        "authors": "Jane Doe",
        "paper_url": "https://example.org/paper",
        "architecture": "WideResNet-70-16",
        "standard_accuracy": 0.9,
        "robust_accuracy": 0.89,
        "how": "AutoAttack 0.1 on all points",
    }
    return NewUnverified.model_validate(fields | changes)


def evaluate(db: Database, blobs: Blobs, who: Actor, name: str) -> None:
    """Submit for an account, and evaluate to the end."""
    submit(db, blobs, new_submission(blobs, name=name), Rules(), owner_id=who.account_id)
    finish_check(db, must_claim(db), [check()], shard_points=512)
    work = must_claim(db)
    finish(db, blobs, work, shard_report(work).to_bytes())


def test_it_is_shown_without_a_rank_and_moves_nobody_elses(db: Database, blobs: LocalBlobs) -> None:
    who = person(db, "jane")
    with db.transaction() as session:
        session.add_all([board_entry("First", 0.5), board_entry("Second", 0.4)])
    place = add_unverified(db, who, ("digits", "L2"), new(robust_accuracy=0.89), days=180)
    rows = get_board(db, "digits", "L2").rows
    assert [(row.model_id, row.rank, row.badge) for row in rows] == [
        ("First", 1, Badge.REPORTED),
        ("Second", 2, Badge.REPORTED),
        ("Own Run", None, Badge.UNVERIFIED),
    ]
    assert (rows[2].best_known_robust_accuracy, rows[2].robust_accuracy) == (None, 0.89)
    model = get_model(db, blobs, *place)
    assert [item.source for item in model.history] == ["The authors’ own run, not verified"]
    assert model.row.footnote == "How it was run: AutoAttack 0.1 on all points"
    assert model.row.expires_ms is not None
    assert model.row.published_ms is not None
    assert model.row.expires_ms - model.row.published_ms == 180 * DAY_MS
    assert [row.model_id for row in get_board(db, "digits", "L2", BoardFilters(badge=Badge.UNVERIFIED)).rows] == [
        "Own Run"
    ]


def test_it_leads_no_board(db: Database) -> None:
    add_unverified(db, person(db, "jane"), BOARD, new(), days=1)
    board = next(one for one in list_boards(db) if (one.dataset, one.threat_model) == BOARD)
    assert (board.entries, board.leader) == (1, None)


def test_a_board_that_is_not_evaluated_here_takes_it_and_one_without_an_attacker_does_not(db: Database) -> None:
    who = person(db, "jane")
    assert add_unverified(db, who, ("imagenet", "Linf"), new(), days=1) == ("imagenet", "Linf", "Own Run")
    with pytest.raises(Conflict, match="attacker"):
        add_unverified(db, who, ("cifar10", "corruptions"), new(), days=1)
    with pytest.raises(NotFound):
        add_unverified(db, who, ("cifar10", "L7"), new(), days=1)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "a/b"),
        ("title", " \u202e "),
        ("authors", ""),
        ("paper_url", ""),
        ("paper_url", "http://example.org"),
        ("paper_url", "javascript:alert(1)"),
        ("architecture", ""),
        ("how", ""),
        ("how", "x" * 301),
        ("standard_accuracy", 1.1),
        ("standard_accuracy", float("nan")),
        ("robust_accuracy", -0.1),
        ("robust_accuracy", 0.91),
    ],
)
def test_what_breaks_a_rule_is_named_and_nothing_is_kept(on_sqlite: Database, field: str, value: object) -> None:
    db, who = on_sqlite, person(on_sqlite, "jane")
    with pytest.raises(InvalidSubmission) as caught:
        add_unverified(db, who, BOARD, new(**{field: value}), days=1)
    assert caught.value.detail is not None
    assert caught.value.detail.field == field
    assert get_board(db, *BOARD).total == 0


def test_only_accounts_enter_and_only_owners_and_maintainers_remove(db: Database) -> None:
    jane, other = person(db, "jane", email="jane@example.org"), person(db, "other")
    with pytest.raises(SignInNeeded):
        add_unverified(db, ANYBODY, BOARD, new(), days=1)
    with pytest.raises(Forbidden):
        add_unverified(db, jane.model_copy(update={"scopes": frozenset({Scope.READ})}), BOARD, new(), days=1)
    add_unverified(db, jane, BOARD, new(), days=1)
    with pytest.raises(SignInNeeded):
        remove_unverified(db, ANYBODY, PLACE)
    with pytest.raises(Forbidden):
        remove_unverified(db, other, PLACE)
    with pytest.raises(Forbidden):
        remove_unverified(db, jane.model_copy(update={"scopes": frozenset({Scope.READ})}), PLACE)
    assert get_board(db, *BOARD).total == 1
    remove_unverified(db, jane, PLACE)
    assert get_board(db, *BOARD).total == 0
    assert list_notices(db, jane) == ()
    add_unverified(db, jane, BOARD, new(), days=1)
    remove_unverified(db, person(db, "keeper", Role.MAINTAINER), PLACE)
    assert [notice.event for notice in list_notices(db, jane)] == ["entry.removed"]
    assert [line.action for line in list_audit(db, None, subject="entry digits/Linf/Own Run")] == [
        "remove_unverified",
        "add_unverified",
    ] * 2
    with pytest.raises(NotFound):
        remove_unverified(db, jane, PLACE)


def test_what_was_evaluated_or_reported_is_never_removed_so(db: Database, blobs: LocalBlobs) -> None:
    jane = person(db, "jane")
    evaluate(db, blobs, jane, "Evaluated")
    with db.transaction() as session:
        session.add(board_entry("Reported", 0.5))
    keeper = person(db, "keeper", Role.MAINTAINER)
    for place in (("digits", "Linf", "Evaluated"), ("digits", "L2", "Reported")):
        with pytest.raises(Conflict):
            remove_unverified(db, keeper, place)


def test_names_are_taken_whatever_their_case(db: Database, blobs: LocalBlobs, rules: Rules) -> None:
    jane, other = person(db, "jane"), person(db, "other")
    add_unverified(db, jane, BOARD, new(), days=1)
    with pytest.raises(Conflict):
        add_unverified(db, other, BOARD, new(name="OWN run"), days=1)
    with pytest.raises(Conflict):
        submit(db, blobs, new_submission(blobs, name="own run"), rules, owner_id=other.account_id)
    with pytest.raises(Conflict):
        submit(db, blobs, new_submission(blobs, name="Own Run"), rules)
    submit(db, blobs, new_submission(blobs, name="Waiting"), rules, owner_id=jane.account_id)
    with pytest.raises(Conflict):
        add_unverified(db, jane, BOARD, new(name="waiting"), days=1)


def test_an_entry_in_the_place_of_another_is_seen(db: Database) -> None:
    jane = person(db, "jane")
    add_unverified(db, jane, BOARD, new(), days=1)
    before = standing_of(db, *BOARD)
    remove_unverified(db, jane, PLACE)
    add_unverified(db, jane, BOARD, new(), days=1)
    assert standing_of(db, *BOARD) != before


def test_nobody_fills_a_board(db: Database) -> None:
    jane = person(db, "jane")
    for number in range(MOST_EACH):
        add_unverified(db, jane, BOARD, new(name=f"Run {number}"), days=1)
    with pytest.raises(QueueFull):
        add_unverified(db, jane, BOARD, new(), days=1)
    add_unverified(db, person(db, "other"), BOARD, new(), days=1)


def test_the_owners_own_evaluation_takes_its_place(db: Database, blobs: LocalBlobs, rules: Rules) -> None:
    jane = person(db, "jane")
    add_unverified(db, jane, BOARD, new(name="own run"), days=1)
    require_admissible(db, new_submission(blobs, name="Own Run"), rules, owner_id=jane.account_id)
    evaluate(db, blobs, jane, "Own Run")
    assert [(row.model_id, row.badge, row.rank) for row in get_board(db, *BOARD).rows] == [
        ("Own Run", Badge.EVALUATED, 1)
    ]
    with db.snapshot() as session:
        entries = set(session.scalars(select(EntryRow.id)))
        assert set(session.scalars(select(EntryHistoryRow.entry_id))) <= entries


def test_the_sweeper_warns_once_and_removes_in_time(db: Database, blobs: LocalBlobs) -> None:
    jane = person(db, "jane", email="jane@example.org")
    add_unverified(db, jane, BOARD, new(), days=8)
    sweep(db, blobs)
    assert list_notices(db, jane) == ()
    _move_end(db, -DAY_MS)
    for _ in range(3):
        assert sweep(db, blobs).ended == ()
    assert [notice.event for notice in list_notices(db, jane)] == ["entry.expiring"]
    _move_end(db, -8 * DAY_MS)
    assert sweep(db, blobs).ended == ("entry digits/Linf/Own Run",)
    assert sweep(db, blobs).ended == ()
    assert get_board(db, *BOARD).total == 0
    assert list_audit(db, None, subject="entry digits/Linf/Own Run")[0].action == "expire_unverified"
    assert [notice.event for notice in list_notices(db, jane)] == ["entry.removed", "entry.expiring"]
    add_unverified(db, jane, BOARD, new(), days=2)  # the name is free, and whoever has it now is warned too
    warn_of_ends(db)
    assert next(notice.event for notice in list_notices(db, jane)) == "entry.expiring"


def _move_end(db: Database, by_ms: int) -> None:
    with db.transaction() as session:
        entry = session.scalars(select(EntryRow)).one()
        assert entry.expires_ms is not None
        entry.expires_ms += by_ms
