"""How maintainers step in: work taken away from whoever holds it, submissions given up, sent again or put in front."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmark.errors import Conflict, InvalidInput, InvalidSubmission, NotFound
from store.actors import ANYBODY, Actor, Forbidden, Role, SignInNeeded
from store.audit import list_audit
from store.checkpoint_deletion import delete_checkpoint
from store.claims import MAX_ATTEMPTS, Beat, beat, claim, fail_attempt
from store.errors import StaleClaim
from store.externals import get_external
from store.intervention import fail_by_service, requeue, send_again
from store.moderation import withdraw
from store.outcomes import finish_check, finish_shard
from store.queue import set_priority, view_queue
from store.services import Services
from store.submissions import cancel, get_submission, submit
from store.tables import ShardRow, SubmissionRow
from store.views import ExternalState, Purpose, State
from store.workers import announce, drain
from tests.store.deciders import evaluate, person, send
from tests.store.lowered import doubt, judge_examples, look_closer, send_examples
from tests.store.material import (
    LEASE_MS,
    Rules,
    a_worker,
    check,
    finish,
    must_claim,
    new_submission,
    published,
    running,
    shard_report,
)
from tests.store.test_queue import Bell

REASON = "The GPU lied."


def newest(services: Services, maintainer: Actor) -> tuple[str, str, str, dict[str, str]]:
    """The latest record: who did what, to what, and more of it."""
    record = list_audit(services.db, maintainer)[0]
    return record.name, record.action, record.subject, record.detail


def give_out(services: Services) -> None:
    """Fail the piece of work that is next as often as it takes."""
    for _ in range(MAX_ATTEMPTS):
        fail_attempt(services.db, must_claim(services.db), "it broke", "service")


def state_of(services: Services, shard_id: int) -> tuple[str, int]:
    with services.db.snapshot() as session:
        shard = session.get_one(ShardRow, shard_id)
        return shard.state, shard.attempt


def test_work_is_taken_away_and_whoever_had_it_writes_nothing_more(services: Services, maintainer: Actor) -> None:
    view = running(services.db, services.blobs)
    old = must_claim(services.db, "hangs")
    bell = services.db.doorbell = Bell(services.db)
    assert requeue(services.db, old.shard_id, maintainer) == (old.shard_id,)
    assert bell.take() == [old.shard_id]
    assert state_of(services, old.shard_id) == ("queued", 0)
    assert beat(services.db, old, LEASE_MS) is Beat.LOST
    report = shard_report(old).to_bytes()
    with pytest.raises(StaleClaim):
        finish_shard(services.db, services.blobs, old, report)
    with pytest.raises(StaleClaim):
        fail_attempt(services.db, old, "it broke", "service")
    new = must_claim(services.db, "another")
    assert (new.shard_id, new.attempt) == (old.shard_id, 1)
    with pytest.raises(StaleClaim):
        finish_shard(services.db, services.blobs, old, report)
    assert finish(services.db, services.blobs, new, report) is State.PUBLISHED
    subject = f"submission {view.id}"
    detail = {"piece": "points 0 to 499", "worker": "hangs"}
    assert newest(services, maintainer) == ("maintainer", "requeue", subject, detail)


def test_a_check_that_is_taken_away_is_made_again(services: Services, maintainer: Actor) -> None:
    view = submit(services.db, services.blobs, new_submission(services.blobs), Rules())
    old = must_claim(services.db)
    requeue(services.db, old.shard_id, maintainer)
    with pytest.raises(StaleClaim):
        finish_check(services.db, old, [check()], parameters=1)
    assert get_submission(services.db, view.id).state is State.CHECKING
    assert finish_check(services.db, must_claim(services.db), [check()], parameters=1) is State.QUEUED


def test_the_last_attempt_that_is_taken_away_is_still_to_come(services: Services, maintainer: Actor) -> None:
    running(services.db, services.blobs)
    for _ in range(MAX_ATTEMPTS - 1):
        fail_attempt(services.db, must_claim(services.db), "it broke", "service")
    requeue(services.db, must_claim(services.db).shard_id, maintainer)
    assert must_claim(services.db).attempt == MAX_ATTEMPTS


def test_what_waits_is_done_or_has_ended_cannot_be_taken_away(services: Services, maintainer: Actor) -> None:
    view = submit(services.db, services.blobs, new_submission(services.blobs), Rules())
    (piece,) = view_queue(services.db)
    with pytest.raises(Conflict, match="one that is queued"):
        requeue(services.db, piece.shard_id, maintainer)
    finish_check(services.db, must_claim(services.db), [check()], parameters=1)
    with pytest.raises(Conflict, match="one that is done"):
        requeue(services.db, piece.shard_id, maintainer)
    shard = view_queue(services.db)[0]
    give_out(services)
    with pytest.raises(Conflict, match="a submission that has ended"):
        requeue(services.db, shard.shard_id, maintainer)
    assert get_submission(services.db, view.id).state is State.FAILED
    with pytest.raises(NotFound):
        requeue(services.db, shard.shard_id + 100, maintainer)


def test_a_closer_look_that_has_failed_goes_on(services: Services, maintainer: Actor) -> None:
    view = doubt(services, "Method A")
    (piece,) = view_queue(services.db)
    assert piece.purpose is Purpose.FOLLOW_UP
    give_out(services)
    assert view_queue(services.db) == ()
    withdraw(services.db, view.id, maintainer, "x")
    with pytest.raises(Conflict, match="not on its board"):
        requeue(services.db, piece.shard_id, maintainer)
    with services.db.transaction() as session:
        session.get_one(SubmissionRow, view.id).state = State.PUBLISHED
    assert requeue(services.db, piece.shard_id, maintainer) == (piece.shard_id,)
    assert state_of(services, piece.shard_id) == ("queued", 0)
    look_closer(services, broken=2)
    with pytest.raises(Conflict, match="one that is done"):
        requeue(services.db, piece.shard_id, maintainer)


def test_examples_by_others_that_could_not_be_judged_are_judged_later(services: Services, maintainer: Actor) -> None:
    published(services.db, services.blobs)
    sent = send_examples(services, "Method A", points=(100, 200))
    (piece,) = view_queue(services.db)
    give_out(services)
    assert get_external(services.db, sent.id).state is ExternalState.FAILED
    requeue(services.db, piece.shard_id, maintainer)
    again = get_external(services.db, sent.id)
    assert (again.state, again.reason, again.concluded_ms) == (ExternalState.QUEUED, "", None)
    assert judge_examples(services, again, (100, 200)).newly_broken == 2


def test_nobody_goes_on_without_the_file(services: Services, maintainer: Actor) -> None:
    view = published(services.db, services.blobs)
    send_examples(services, "Method A", points=(100, 200))
    (piece,) = view_queue(services.db)
    give_out(services)
    delete_checkpoint(services.db, services.blobs, view.id)
    with pytest.raises(Conflict, match="whose file was deleted"):
        requeue(services.db, piece.shard_id, maintainer)


def test_a_submission_is_given_up_through_the_service_s_fault(
    services: Services, owner: Actor, maintainer: Actor
) -> None:
    submission_id = send(services, owner)
    held = must_claim(services.db)
    for reason in ("", " \n", "x" * 501):
        with pytest.raises(InvalidSubmission):
            fail_by_service(services.db, submission_id, reason, maintainer)
    view = fail_by_service(services.db, submission_id, REASON, maintainer)
    assert (view.state, view.fault, view.reason) == (State.FAILED, "service", REASON)
    assert beat(services.db, held, LEASE_MS) is Beat.CANCEL
    assert claim(services.db, a_worker(), LEASE_MS) is None
    assert newest(services, maintainer)[1:] == ("fail", f"submission {submission_id}", {"reason": REASON})
    with pytest.raises(Conflict):
        fail_by_service(services.db, submission_id, REASON, maintainer)
    assert send(services, owner) != submission_id, "its name is free again, and nothing counts against its owner"


def test_what_waits_for_a_maintainer_can_be_given_up_and_what_is_published_cannot(
    services: Services, owner: Actor, maintainer: Actor
) -> None:
    resting = send(services, owner, approval=True)
    evaluate(services)
    assert fail_by_service(services.db, resting, REASON, maintainer).state is State.FAILED
    entry = send(services, owner)
    evaluate(services)
    with pytest.raises(Conflict):
        fail_by_service(services.db, entry, REASON, maintainer)


def test_a_submission_is_sent_again_for_whoever_had_sent_it(
    services: Services, owner: Actor, maintainer: Actor
) -> None:
    first = send(services, owner, "A", approval=True, title="A title", notes="one\ntwo")
    with pytest.raises(Conflict, match="failed through the service"):
        send_again(services.db, services.blobs, services.admission, first, maintainer)
    fail_by_service(services.db, first, REASON, maintainer)
    view = send_again(services.db, services.blobs, services.admission, first, maintainer)
    assert get_submission(services.db, first).state is State.FAILED, "what has ended stays as it ended"
    with services.db.snapshot() as session:
        old, new = (session.get_one(SubmissionRow, one) for one in (first, view.id))
        for column in ("name", "title", "notes", "checkpoint_sha256", "owner_id", "submitter", "approval"):
            assert getattr(old, column) == getattr(new, column), column
    assert newest(services, maintainer)[1:] == ("send_again", f"submission {first}", {"submission": view.id})
    with pytest.raises(Conflict, match="a name that is not taken"):
        send_again(services.db, services.blobs, services.admission, first, maintainer)
    cancel(services.db, view.id, owner)
    with pytest.raises(Conflict, match="failed through the service"):
        send_again(services.db, services.blobs, services.admission, view.id, maintainer)
    delete_checkpoint(services.db, services.blobs, first)
    delete_checkpoint(services.db, services.blobs, view.id)
    with pytest.raises(InvalidSubmission, match="the SHA-256 of an uploaded file"):
        send_again(services.db, services.blobs, services.admission, first, maintainer)


def test_a_name_that_was_revealed_meanwhile_is_no_hindrance(services: Services, owner: Actor) -> None:
    first = send(services, owner, "A")
    fail_by_service(services.db, first, REASON)
    with services.db.transaction() as session:
        session.get_one(SubmissionRow, first).embargo_until_ms = 1_000
    assert send_again(services.db, services.blobs, services.admission, first).submission.embargo_until is None


@pytest.mark.parametrize(
    ("who", "reason", "told"),
    [
        ("maintainer", "It runs for ever.", "cancelled by a maintainer: It runs for ever."),
        ("owner", "A mistake.", "cancelled by its owner: A mistake."),
        ("owner", "", "cancelled by request"),
        ("operator", "It runs for ever.", "cancelled by a maintainer: It runs for ever."),
    ],
)
def test_a_cancellation_says_why(
    services: Services, owner: Actor, maintainer: Actor, who: str, reason: str, told: str
) -> None:
    submission_id = send(services, owner)
    asks = {"maintainer": maintainer, "owner": owner, "operator": None}[who]
    assert cancel(services.db, submission_id, asks, reason).reason == told
    _, action, subject, detail = newest(services, maintainer)
    assert (action, subject, detail) == (
        "cancel",
        f"submission {submission_id}",
        {"reason": reason} if reason else {},
    )


def test_a_cancellation_of_somebody_without_an_account_leaves_no_name(services: Services, maintainer: Actor) -> None:
    guest = Actor(open_house=True)
    submission_id = submit(services.db, services.blobs, new_submission(services.blobs), Rules()).id
    with pytest.raises(InvalidSubmission):
        cancel(services.db, submission_id, guest, "x" * 501)
    assert cancel(services.db, submission_id, guest, "Why not.").reason == "cancelled by request: Why not."
    assert list_audit(services.db, maintainer) == ()


def test_priorities_and_drained_workers_are_on_record(services: Services, owner: Actor, maintainer: Actor) -> None:
    submission_id = send(services, owner)
    set_priority(services.db, submission_id, -1_000, maintainer)
    assert newest(services, maintainer)[1:] == (
        "set_priority",
        f"submission {submission_id}",
        {"priority": "-1000"},
    )
    for wrong in (1_001, -1_001, 2**40):
        with pytest.raises(InvalidInput):
            set_priority(services.db, submission_id, wrong, maintainer)
    assert view_queue(services.db)[0].priority == -1_000
    announce(services.db, a_worker("w"))
    drain(services.db, "w", maintainer)
    assert newest(services, maintainer) == ("maintainer", "drain", "worker w", {})
    drain(services.db, "w", draining=False)
    assert newest(services, maintainer) == ("", "resume", "worker w", {})


Intervention = Callable[[Services, str, int, Actor], object]
INTERVENTIONS: dict[str, Intervention] = {
    "requeue": lambda it, _, shard_id, who: requeue(it.db, shard_id, who),
    "fail": lambda it, submission_id, _, who: fail_by_service(it.db, submission_id, REASON, who),
    "send again": lambda it, submission_id, _, who: send_again(it.db, it.blobs, it.admission, submission_id, who),
    "priority": lambda it, submission_id, _, who: set_priority(it.db, submission_id, 1, who),
    "drain": lambda it, _, __, who: drain(it.db, "w", who),
}


@pytest.mark.parametrize("intervention", INTERVENTIONS)
def test_only_maintainers_step_in(services: Services, owner: Actor, maintainer: Actor, intervention: str) -> None:
    submission_id = send(services, owner)
    announce(services.db, a_worker("w"))
    held = must_claim(services.db)
    about_a_submission = intervention in {"fail", "send again", "priority"}
    refusals: tuple[tuple[Actor, type[InvalidInput | NotFound]], ...] = (
        (ANYBODY, NotFound if about_a_submission else SignInNeeded),
        (owner, Forbidden),
        (person(services.db, "other"), NotFound if about_a_submission else Forbidden),
        (maintainer.model_copy(update={"scopes": frozenset()}), NotFound if about_a_submission else Forbidden),
    )
    for who, error in refusals:
        with pytest.raises(error):
            INTERVENTIONS[intervention](services, submission_id, held.shard_id, who)
    assert list_audit(services.db, maintainer) == ()
    admin = person(services.db, "admin", Role.ADMIN)
    if intervention == "send again":
        fail_by_service(services.db, submission_id, REASON, admin)
    INTERVENTIONS[intervention](services, submission_id, held.shard_id, admin)
    assert newest(services, maintainer)[0] == "admin"


def test_what_is_requeued_for_ever_is_on_record_each_time(services: Services, maintainer: Actor) -> None:
    running(services.db, services.blobs)
    for _ in range(MAX_ATTEMPTS + 1):
        requeue(services.db, must_claim(services.db).shard_id, maintainer)
    assert [record.action for record in list_audit(services.db, maintainer)] == ["requeue"] * (MAX_ATTEMPTS + 1)
    assert must_claim(services.db).attempt == 1
