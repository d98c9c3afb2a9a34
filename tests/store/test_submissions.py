"""What is let in, what is refused and in which words, and what becomes of it."""

from __future__ import annotations

from functools import partial

import pytest
from sqlalchemy.exc import IntegrityError

from benchmark.errors import Conflict, InvalidCheckpoint, InvalidInput, InvalidSubmission, NotFound, TooLarge
from benchmark.protocols import STANDARD
from benchmark.threat_models import RANKING_PROTOCOL
from store.blobs import LocalBlobs
from store.claims import beat, claim
from store.database import Database
from store.errors import QueueFull
from store.outcomes import finish_check
from store.submissions import (
    cancel,
    count_open,
    ensure_submission,
    get_submission,
    list_open,
    list_submissions,
    require_admissible,
    submit,
)
from store.tables import SubmissionRow
from store.views import ExtraData, State
from tests.store.interleaving import at_once
from tests.store.material import LEASE_MS, Rules, a_worker, check, must_claim, new_submission, published


def test_all_fields_come_back(db: Database, blobs: LocalBlobs, rules: Rules) -> None:
    new = new_submission(
        blobs,
        name="A-1+x",
        title="Über robuste Netze",
        authors="A. Author, B. Author",
        paper_url="https://arxiv.org/abs/2003.01690",
        venue="ICML 2020",
        extra_data="synthetic",
        claimed_standard_accuracy=0.0,
        claimed_robust_accuracy=1.0,
        licence="MIT",
        notes="first line\nsecond line",
    )
    view = submit(db, blobs, new, rules)
    assert view.submission == new
    assert view.submission.extra_data is ExtraData.SYNTHETIC
    assert get_submission(db, view.id) == view


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", " "),
        ("name", "-starts"),
        ("name", "a" * 81),
        ("name", "a/b"),
        ("name", "näme"),
        ("name", "a<b"),
        ("architecture", "resnet-999"),
        ("architecture", ""),
        ("paper_url", "http://arxiv.org/abs/1"),
        ("paper_url", "javascript:alert(1)"),
        ("paper_url", "https://"),
        ("paper_url", "https://user@host/"),
        ("paper_url", "https://a b/"),
        ("paper_url", "https://[broken"),
        ("claimed_robust_accuracy", 1.01),
        ("claimed_robust_accuracy", -0.1),
        ("claimed_standard_accuracy", float("nan")),
        ("claimed_standard_accuracy", 88.0),
        ("checkpoint_sha256", "0" * 64),
        ("checkpoint_sha256", "../secret"),
        ("title", "t" * 301),
        ("authors", "t" * 501),
        ("notes", "t" * 4_001),
        ("licence", "t" * 101),
        ("venue", "t" * 101),
    ],
)
def test_a_bad_field_is_refused_by_name(
    db: Database, blobs: LocalBlobs, rules: Rules, field: str, value: str | float
) -> None:
    with pytest.raises(InvalidSubmission) as caught:
        submit(db, blobs, new_submission(blobs, **{field: value}), rules)
    assert caught.value.detail is not None
    assert caught.value.detail.field == field
    assert caught.value.detail.remedy
    assert list_submissions(db) == ()


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"dataset": "mnist"}, NotFound),
        ({"threat_model": "L0"}, NotFound),
        ({"dataset": "cifar10"}, InvalidSubmission),
        ({"threat_model": "corruptions", "dataset": "imagenet"}, InvalidSubmission),
    ],
)
def test_only_boards_evaluated_here_take_submissions(
    db: Database, blobs: LocalBlobs, rules: Rules, changes: dict[str, str], error: type[InvalidInput]
) -> None:
    with pytest.raises(error):
        submit(db, blobs, new_submission(blobs, **changes), rules)


def test_a_broken_header_and_a_large_file_are_refused_at_once(db: Database, blobs: LocalBlobs, rules: Rules) -> None:
    with pytest.raises(InvalidCheckpoint):
        submit(db, blobs, new_submission(blobs, checkpoint_sha256=blobs.put(b"noise")), rules)
    large = blobs.put(b"weights" + bytes(1_000))
    with pytest.raises(TooLarge):
        submit(db, blobs, new_submission(blobs, checkpoint_sha256=large), rules)


def test_hidden_characters_are_stripped(db: Database, blobs: LocalBlobs, rules: Rules) -> None:
    new = new_submission(
        blobs,
        name="  Method\u202e A\u200b ",
        title="a\x00b\u2066c\ud800\td",
        notes="one\r\ntwo\u202ethree\x1b[31m",
    )
    kept = submit(db, blobs, new, rules).submission
    assert (kept.name, kept.title, kept.notes) == ("Method A", "abc d", "one \ntwothree[31m")


def test_a_name_is_taken_once(db: Database, blobs: LocalBlobs, rules: Rules) -> None:
    first = submit(db, blobs, new_submission(blobs), rules)
    with pytest.raises(Conflict):
        submit(db, blobs, new_submission(blobs, name=" Method A"), rules)
    submit(db, blobs, new_submission(blobs, threat_model="L2"), rules)
    cancel(db, first.id)
    submit(db, blobs, new_submission(blobs), rules)


def test_a_name_is_taken_once_at_the_same_moment(db: Database, blobs: LocalBlobs, rules: Rules) -> None:
    """Also where the two differ in case, which the database's own index takes for two names."""
    names = ["Method A", "method a", "METHOD A", "Method A"]
    outcomes = at_once(*[partial(submit, db, blobs, new_submission(blobs, name=name), rules) for name in names])
    assert sorted(type(outcome.error).__name__ for outcome in outcomes) == ["Conflict"] * 3 + ["NoneType"]
    assert len(list_submissions(db)) == 1


def test_the_last_place_in_the_queue_is_given_once(db: Database, blobs: LocalBlobs, rules: Rules) -> None:
    news = [new_submission(blobs, name=f"m{i}") for i in range(4)]
    outcomes = at_once(*[partial(submit, db, blobs, new, rules, max_open=1) for new in news])
    assert sorted(type(outcome.error).__name__ for outcome in outcomes) == ["NoneType"] + ["QueueFull"] * 3


def test_the_name_of_an_entry_is_taken(db: Database, blobs: LocalBlobs, rules: Rules) -> None:
    published(db, blobs)
    with pytest.raises(Conflict):
        submit(db, blobs, new_submission(blobs), rules)


def test_the_database_itself_refuses_a_second_open_name(db: Database, blobs: LocalBlobs, rules: Rules) -> None:
    submit(db, blobs, new_submission(blobs), rules)
    other = submit(db, blobs, new_submission(blobs, name="Method B"), rules)
    with pytest.raises(IntegrityError), db.transaction() as session:
        session.get_one(SubmissionRow, other.id).name = "Method A"


def test_the_queue_is_in_order_of_arrival(db: Database, blobs: LocalBlobs, rules: Rules) -> None:
    ids = [submit(db, blobs, new_submission(blobs, name=f"m{i}"), rules).id for i in range(3)]
    assert sorted(view.queue_position or 0 for view in list_submissions(db)) == [1, 2, 3]
    work = must_claim(db)
    assert get_submission(db, work.submission_id).queue_position is None
    assert sorted(get_submission(db, other).queue_position or 0 for other in ids) == [0, 1, 2]


def test_a_submission_is_cancelled_once(db: Database, blobs: LocalBlobs, rules: Rules) -> None:
    view = submit(db, blobs, new_submission(blobs), rules)
    outcomes = at_once(*[partial(cancel, db, view.id)] * 3)
    assert sorted(type(outcome.error).__name__ for outcome in outcomes) == ["Conflict", "Conflict", "NoneType"]
    assert [step.state for step in get_submission(db, view.id).transitions] == [State.RECEIVED, State.CANCELLED]


def test_cancelling_frees_the_worker(db: Database, blobs: LocalBlobs, rules: Rules) -> None:
    view = submit(db, blobs, new_submission(blobs), rules)
    work = must_claim(db)
    assert beat(db, work, LEASE_MS) == "renewed"
    cancelled = cancel(db, view.id)
    assert (cancelled.state, cancelled.reason, cancelled.fault) == (State.CANCELLED, "cancelled by request", None)
    assert beat(db, work, LEASE_MS) == "cancel"
    assert claim(db, a_worker("other"), LEASE_MS) is None
    with pytest.raises(Conflict):
        cancel(db, view.id)
    with pytest.raises(NotFound):
        cancel(db, "nobody")


def test_the_zoo_is_taken_in_once(db: Database, blobs: LocalBlobs, rules: Rules) -> None:
    new = new_submission(blobs, name="Standard")
    first = ensure_submission(db, blobs, new, rules, baseline=True, zoo_id="Standard")
    again = ensure_submission(db, blobs, new, rules, baseline=True, zoo_id="Standard")
    assert first == again
    cancel(db, first.id)
    assert ensure_submission(db, blobs, new, rules, baseline=True, zoo_id="Standard").id == first.id
    assert len(list_submissions(db)) == 1


def test_services_that_start_at_once_take_the_zoo_in_once(db: Database, blobs: LocalBlobs, rules: Rules) -> None:
    new = new_submission(blobs, name="Standard")
    take_in = partial(ensure_submission, db, blobs, new, rules, baseline=True, zoo_id="Standard")
    outcomes = at_once(*[take_in] * 4)
    assert [outcome.error for outcome in outcomes] == [None] * 4
    assert len({view.id for view in list_submissions(db)}) == 1
    assert all(outcome.result == outcomes[0].result for outcome in outcomes)


@pytest.mark.parametrize(("fault", "taken_in"), [("service", 2), ("model", 1)])
def test_the_zoo_is_taken_in_again_where_the_service_failed(
    db: Database, blobs: LocalBlobs, rules: Rules, fault: str, taken_in: int
) -> None:
    new = new_submission(blobs)
    first = ensure_submission(db, blobs, new, rules, baseline=False, zoo_id="a")
    finish_check(db, must_claim(db), [check()])
    with db.transaction() as session:
        row = session.get_one(SubmissionRow, first.id)
        row.state, row.fault = State.FAILED, fault
    ensure_submission(db, blobs, new, rules, baseline=False, zoo_id="a")
    assert len(list_submissions(db)) == taken_in


def test_the_newest_come_first(db: Database, blobs: LocalBlobs, rules: Rules) -> None:
    for i in range(4):
        submit(db, blobs, new_submission(blobs, name=f"m{i}"), rules)
    views = list_submissions(db, limit=3)
    assert [view.id for view in views] == sorted((view.id for view in list_submissions(db)), reverse=True)[:3]


@pytest.mark.parametrize("unknown", ["x" * 500, "a\0b", ""])
def test_an_unknown_submission_is_not_found(db: Database, unknown: str) -> None:
    with pytest.raises(NotFound):
        get_submission(db, unknown)
    with pytest.raises(NotFound):
        cancel(db, unknown)


def test_the_protocol_that_ranks_exists() -> None:
    assert STANDARD.label == RANKING_PROTOCOL


def test_no_name_differs_from_another_only_in_case(db: Database, blobs: LocalBlobs, rules: Rules) -> None:
    published(db, blobs, "Method A")
    waiting = submit(db, blobs, new_submission(blobs, name="Waiting"), rules)
    for name in ("method a", "METHOD A", "waiting"):
        with pytest.raises(Conflict):
            submit(db, blobs, new_submission(blobs, name=name), rules)
    cancel(db, waiting.id)
    assert submit(db, blobs, new_submission(blobs, name="waiting"), rules).submission.name == "waiting"


def test_a_full_queue_takes_nothing_more_until_there_is_room(db: Database, blobs: LocalBlobs, rules: Rules) -> None:
    published(db, blobs, "done")
    first = submit(db, blobs, new_submission(blobs, name="first"), rules, max_open=1)
    second = new_submission(blobs, name="second")
    with pytest.raises(QueueFull, match="1 submissions are waiting"):
        submit(db, blobs, second, rules, max_open=1)
    with pytest.raises(QueueFull):
        require_admissible(db, second, rules, max_open=1)
    ensure_submission(db, blobs, new_submission(blobs, name="zoo"), rules, baseline=True, zoo_id="zoo")
    cancel(db, first.id)
    require_admissible(db, second, rules, max_open=2)
    assert submit(db, blobs, second, rules, max_open=2).state is State.RECEIVED


def test_whoever_sends_a_model_twice_learns_where_the_first_one_is(
    db: Database, blobs: LocalBlobs, rules: Rules
) -> None:
    new = new_submission(blobs)
    first = submit(db, blobs, new, rules)
    with pytest.raises(Conflict) as same:
        submit(db, blobs, new, rules)
    other = new.model_copy(update={"checkpoint_sha256": blobs.put(b"weights of another")})
    with pytest.raises(Conflict) as foreign:
        submit(db, blobs, other, rules)
    assert same.value.detail is not None
    assert foreign.value.detail is not None
    assert first.id in same.value.detail.remedy
    assert foreign.value.detail.remedy == "choose another name"


def test_what_is_under_way_is_told_by_board(db: Database, blobs: LocalBlobs, rules: Rules) -> None:
    published(db, blobs, "done")
    first, second = (submit(db, blobs, new_submission(blobs, name=name), rules) for name in ("first", "second"))
    other = submit(db, blobs, new_submission(blobs, name="other", threat_model="L2"), rules)
    ended = submit(db, blobs, new_submission(blobs, name="ended"), rules)
    cancel(db, ended.id)
    listed = list_open(db, "digits", "Linf")
    assert [view.id for view in listed] == sorted([first.id, second.id])
    assert {view.queue_position for view in listed} <= {1, 2, 3}
    assert listed[0] == get_submission(db, listed[0].id)
    assert list_open(db, "digits", "Linf", limit=1) == listed[:1]
    assert [view.id for view in list_open(db, "digits", "L2")] == [other.id]
    assert list_open(db, "cifar10", "Linf") == ()
    assert count_open(db) == {("digits", "Linf"): 2, ("digits", "L2"): 1}
