"""Approved, declined, withdrawn, restored: by whom, once, and with nothing lost in between."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from sqlalchemy import select

from benchmark.errors import Conflict, EvaluationFailed, GauntletError, InvalidSubmission, NotFound
from store.accounts import delete_account
from store.actors import ANYBODY, Actor, Forbidden, Role, SignInNeeded, needs_approval
from store.again import evaluate_again
from store.audit import list_audit
from store.boards import get_board, get_model, list_boards
from store.checkpoint_deletion import delete_checkpoint
from store.claims import beat, claim
from store.errors import QueueFull, StaleClaim
from store.externals import get_external, submit_external
from store.moderation import approve, decline, restore, withdraw
from store.moderation_views import get_submission_report, rights_on_submission, view_moderation
from store.outcomes import finish_judge, finish_shard
from store.passwords import hash_password
from store.publication import reduce_run
from store.services import Services
from store.submissions import MAX_OPEN, cancel, get_submission, list_submissions
from store.sweeping import sweep
from store.tables import AccountRow, EntryRow, NoticeRow, RunRow, ShardRow, SubmissionRow
from store.views import Approval, ExternalState, LookState, NewExternal, State
from tests.store.deciders import evaluate, person, send
from tests.store.interleaving import at_once, interleaved
from tests.store.lowered import look_closer, send_examples
from tests.store.material import (
    LEASE_MS,
    Rules,
    a_worker,
    examples,
    judge,
    must_claim,
    shard_report,
    verdicts_on,
)

PASSWORD = "correct horse battery staple"


def pending(services: Services, owner: Actor, name: str = "Method A", **fields: object) -> str:
    """Submit and evaluate; the result waits."""
    submission_id = send(services, owner, name, approval=True, **fields)
    assert evaluate(services) is State.EVALUATED
    return submission_id


def public(services: Services, owner: Actor, name: str = "Method A", *, by_square: int = 0) -> str:
    """Submit, evaluate and publish."""
    submission_id = send(services, owner, name)
    assert evaluate(services, by_square=by_square) is State.PUBLISHED
    return submission_id


def rank_of(services: Services, name: str) -> int | None:
    return get_model(services.db, services.blobs, "digits", "Linf", name).row.rank


def test_a_result_waits_for_approval_whatever_happens_meanwhile(
    services: Services, owner: Actor, maintainer: Actor
) -> None:
    submission_id = pending(services, owner)
    with services.db.snapshot() as session:
        run_id = session.scalars(select(RunRow.id)).one()
    for _ in range(3):
        swept = sweep(services.db, services.blobs)
        assert (swept.failed, swept.published) == ((), ())
        assert reduce_run(services.db, services.blobs, run_id) is State.EVALUATED
    view = get_submission(services.db, submission_id, owner)
    assert (view.state, view.approval, view.rests, view.queue_position) == ("evaluated", "pending", True, None)
    assert get_board(services.db, "digits", "Linf").total == 0
    assert claim(services.db, a_worker(), LEASE_MS) is None
    with pytest.raises(Conflict):
        cancel(services.db, submission_id, owner)
    for who in (owner, maintainer):
        assert get_submission_report(services.db, services.blobs, submission_id, who).robust_accuracy == 0.88
    for who in (person(services.db, "other"), ANYBODY):
        with pytest.raises(NotFound):
            get_submission_report(services.db, services.blobs, submission_id, who)


def test_approval_publishes_what_was_measured(services: Services, owner: Actor, maintainer: Actor) -> None:
    submission_id = pending(services, owner)
    before = get_submission_report(services.db, services.blobs, submission_id, maintainer)
    view = approve(services.db, services.blobs, submission_id, maintainer)
    assert (view.state, view.approval) == (State.PUBLISHED, Approval.APPROVED)
    model = get_model(services.db, services.blobs, "digits", "Linf", "Method A")
    assert (model.row.rank, model.report) == (1, before)
    assert [step.state for step in view.transitions][-2:] == ["evaluated", "published"]
    (record, *_) = list_audit(services.db, maintainer, subject=f"submission {submission_id}")
    assert (record.action, record.name) == ("approve", "maintainer")


def test_what_is_approved_is_the_same_as_what_nobody_need_approve(
    services: Services, owner: Actor, maintainer: Actor
) -> None:
    """Flags, closer looks and histories included: two equal files, by either way."""
    public(services, owner, "A", by_square=20)
    look_closer(services, broken=0)
    second = send(services, owner, "B", approval=True)
    assert evaluate(services, by_square=20) is State.EVALUATED
    assert claim(services.db, a_worker(), LEASE_MS) is None
    approve(services.db, services.blobs, second, maintainer)
    a, b = (get_model(services.db, services.blobs, "digits", "Linf", name) for name in "AB")
    same = {"rank", "model_id", "title", "submission_id", "published_ms"}
    assert a.row.model_dump(exclude=same) == b.row.model_dump(exclude=same)
    assert [(item.source, item.robust_accuracy) for item in a.history][:1] == [
        (item.source, item.robust_accuracy) for item in b.history
    ]
    assert (len(a.looks), b.looks[0].state) == (1, LookState.QUEUED)


def test_declining_tells_the_owner_why_and_not_who(services: Services, owner: Actor, maintainer: Actor) -> None:
    submission_id = pending(services, owner)
    with pytest.raises(InvalidSubmission):
        decline(services.db, submission_id, maintainer, " \u202e ")
    decline(services.db, submission_id, maintainer, "This is a copy of another entry.")
    view = get_submission(services.db, submission_id, owner)
    assert (view.state, view.approval, view.fault) == (State.REJECTED, Approval.DECLINED, "model")
    assert view.reason == "This is a copy of another entry."
    assert "maintainer" not in view.model_dump_json()
    assert maintainer.account_id is not None
    assert maintainer.account_id not in view.model_dump_json()
    with services.db.snapshot() as session:
        assert maintainer.name not in str([row.content for row in session.scalars(select(NoticeRow))])
    with pytest.raises(Conflict):
        approve(services.db, services.blobs, submission_id, maintainer)
    assert get_submission_report(services.db, services.blobs, submission_id, owner).n_points == 500


def test_a_declined_file_is_not_evaluated_again_for_its_owner(
    services: Services, owner: Actor, maintainer: Actor
) -> None:
    decline(services.db, pending(services, owner), maintainer, "no")
    for name in ("Method A", "Method B"):
        with pytest.raises(Conflict, match="declined"):
            send(services, owner, name, approval=True)
    # Nobody is shut out by what somebody else has sent, nor by a file of one's own that was mended.
    send(services, person(services.db, "author"), approval=True)
    send(services, owner, "Method C", approval=True, checkpoint_sha256=services.blobs.put(b"weights, mended"))


DECISIONS: dict[str, Callable[[Services, str, Actor], object]] = {
    "approve": lambda services, one, who: approve(services.db, services.blobs, one, who),
    "decline": lambda services, one, who: decline(services.db, one, who, "no"),
    "withdraw": lambda services, one, who: withdraw(services.db, one, who, "wrong"),
    "restore": lambda services, one, who: restore(services.db, one, who),
    "re-evaluate": lambda services, one, who: evaluate_again(services.db, services.blobs, one, who),
}


@pytest.mark.parametrize("decision", DECISIONS)
def test_others_may_decide_nothing(services: Services, owner: Actor, maintainer: Actor, decision: str) -> None:
    act = DECISIONS[decision]
    waiting = pending(services, owner, "A")
    shown = public(services, owner, "B")
    if decision == "restore":
        withdraw(services.db, shown, maintainer, "for the test")
    other, reader = person(services.db, "other"), maintainer.model_copy(update={"scopes": frozenset({"read"})})
    before = [view.model_dump_json() for view in list_submissions(services.db)]
    for who in (other, ANYBODY):
        with pytest.raises(NotFound):
            act(services, waiting, who)
    for who, error in ((other, Forbidden), (ANYBODY, SignInNeeded), (reader, Forbidden)):
        with pytest.raises(error):
            act(services, shown, who)
    if decision in {"approve", "decline"}:
        with pytest.raises(Forbidden):
            act(services, waiting, owner)
    if decision == "restore":
        with pytest.raises(Forbidden):
            act(services, shown, owner)
    with pytest.raises(NotFound):
        act(services, "nothing", maintainer)
    assert [view.model_dump_json() for view in list_submissions(services.db)] == before


def test_only_one_of_two_decisions_at_the_same_moment_counts(
    services: Services, owner: Actor, maintainer: Actor
) -> None:
    second = person(services.db, "second", Role.MAINTAINER)
    pairs = (("approve", "approve"), ("approve", "decline"), ("decline", "approve"))
    for number, (one, other) in enumerate(pairs):
        submission_id = pending(services, owner, f"Method {number}", checkpoint_sha256=_file(services, number))

        first = partial(DECISIONS[one], services, submission_id, maintainer)
        outcomes = at_once(first, partial(DECISIONS[other], services, submission_id, second))
        assert [type(outcome.error) for outcome in outcomes if outcome.error] == [Conflict]
        with services.db.snapshot() as session:
            state = State(session.get_one(SubmissionRow, submission_id).state)
            entries = session.scalars(select(EntryRow).where(EntryRow.submission_id == submission_id)).all()
        assert len(entries) == (state is State.PUBLISHED)
        done = [record.action for record in list_audit(services.db, None, subject=f"submission {submission_id}")]
        assert len(done) == 1


def _file(services: Services, number: int) -> str:
    return services.blobs.put(b"weights %d" % number)


def test_what_broke_off_in_the_middle_of_publishing_is_as_before(
    services: Services, owner: Actor, maintainer: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    submission_id = pending(services, owner)
    with monkeypatch.context() as broken:
        broken.setattr("store.publication.remember", _break_off)
        with pytest.raises(RuntimeError):
            approve(services.db, services.blobs, submission_id, maintainer)
    view = get_submission(services.db, submission_id)
    assert (view.rests, get_board(services.db, "digits", "Linf").total) == (True, 0)
    assert list_audit(services.db, None, subject=f"submission {submission_id}") == ()
    assert approve(services.db, services.blobs, submission_id, maintainer).state is State.PUBLISHED


def _break_off(*_: object) -> None:
    raise RuntimeError("the power has failed")


def test_a_result_whose_reports_are_gone_can_still_be_declined(
    services: Services, owner: Actor, maintainer: Actor
) -> None:
    submission_id = pending(services, owner)
    with services.db.transaction() as session:
        for shard in session.scalars(select(ShardRow).where(ShardRow.kind == "shard")):
            shard.report_sha256 = "0" * 64
    with pytest.raises(EvaluationFailed):
        approve(services.db, services.blobs, submission_id, maintainer)
    assert decline(services.db, submission_id, maintainer, "lost").state is State.REJECTED


def test_maintainers_need_nobody_s_approval() -> None:
    maintainer = Actor(account_id="a", role=Role.MAINTAINER)
    assert not needs_approval(maintainer, required=True)
    assert needs_approval(ANYBODY, required=True)
    assert not needs_approval(ANYBODY, required=False)
    # A token without that right is no maintainer's.
    assert needs_approval(maintainer.model_copy(update={"scopes": frozenset({"submit"})}), required=True)


def test_what_waits_for_maintainers_holds_up_nobody_else(services: Services, owner: Actor) -> None:
    submission_id = pending(services, owner)
    with services.db.transaction() as session:
        row = session.get_one(SubmissionRow, submission_id)
        columns = {column.name: getattr(row, column.name) for column in SubmissionRow.__table__.columns}
        for number in range(MAX_OPEN):
            session.add(SubmissionRow(**columns | {"id": f"{number:020x}", "name": f"Waiting {number}"}))
    send(services, person(services.db, "other"), "Method B")
    with pytest.raises(QueueFull):
        send(services, owner, "Method C")


def test_an_account_that_is_deleted_leaves_its_result_to_the_maintainers(
    services: Services, owner: Actor, maintainer: Actor
) -> None:
    submission_id = pending(services, owner)
    waiting = send(services, owner, "Method B")
    with services.db.transaction() as session:
        session.get_one(AccountRow, owner.account_id).password_hash = hash_password(PASSWORD)
    person(services.db, "admin", Role.ADMIN)
    delete_account(services.db, owner, PASSWORD)
    assert get_submission(services.db, waiting).state is State.CANCELLED
    assert approve(services.db, services.blobs, submission_id, maintainer).state is State.PUBLISHED


def test_a_withdrawn_entry_keeps_its_page_and_ranks_no_more(
    services: Services, owner: Actor, maintainer: Actor
) -> None:
    first, _ = public(services, owner, "A"), public(services, owner, "B")
    assert (rank_of(services, "A"), rank_of(services, "B")) == (1, 2)
    withdraw(services.db, first, owner, "A bug in the normalisation.")
    row = get_model(services.db, services.blobs, "digits", "Linf", "A").row
    assert (row.rank, row.robust_accuracy, row.withdrawn_reason) == (None, 0.88, "A bug in the normalisation.")
    assert row.withdrawn_ms is not None
    view = get_submission(services.db, first, ANYBODY)
    assert (view.state, view.reason) == (State.WITHDRAWN, "withdrawn by its owner: A bug in the normalisation.")
    leader = next(board for board in list_boards(services.db) if board.dataset == "digits").leader
    assert leader is not None
    assert leader.model_id == "B"
    with pytest.raises(Conflict):
        send(services, owner, "a")  # names stay taken, in either case
    send(services, owner, "A corrected")
    with pytest.raises(Conflict):
        withdraw(services.db, first, owner, "once more")
    restore(services.db, first, maintainer)
    row = get_model(services.db, services.blobs, "digits", "Linf", "A").row
    assert (row.rank, row.withdrawn_ms, row.withdrawn_reason) == (1, None, "")
    done = [record.action for record in list_audit(services.db, maintainer, subject=f"submission {first}")]
    assert done == ["restore", "withdraw"]


def test_a_maintainer_hides_an_entry_without_a_name(services: Services, owner: Actor, maintainer: Actor) -> None:
    submission_id = public(services, owner)
    view = withdraw(services.db, submission_id, maintainer, "Copied.")
    assert view.reason == "withdrawn by a maintainer: Copied."
    assert str(maintainer.account_id) not in view.model_dump_json()


def test_a_look_at_a_withdrawn_entry_waits_until_it_comes_back(
    services: Services, owner: Actor, maintainer: Actor
) -> None:
    submission_id = public(services, owner, by_square=20)
    look = must_claim(services.db)
    withdraw(services.db, submission_id, owner, "wait")
    assert beat(services.db, look, LEASE_MS).value == "cancel"
    with pytest.raises(StaleClaim):
        finish_shard(services.db, services.blobs, look, shard_report(look, misclassified=0, broken=1).to_bytes())
    (seen,) = get_model(services.db, services.blobs, "digits", "Linf", "Method A").looks
    assert seen.state is LookState.SUSPENDED
    assert claim(services.db, a_worker(), LEASE_MS) is None
    assert sweep(services.db, services.blobs).failed == ()
    restore(services.db, submission_id, maintainer)
    look_closer(services, broken=1)
    model = get_model(services.db, services.blobs, "digits", "Linf", "Method A")
    assert model.looks[0].state is LookState.DONE
    assert model.row.best_known_robust_accuracy == pytest.approx(0.838)


def test_a_look_ends_where_the_file_was_deleted_before_its_entry_came_back(
    services: Services, owner: Actor, maintainer: Actor
) -> None:
    submission_id = public(services, owner, by_square=20)
    withdraw(services.db, submission_id, owner, "wait")
    delete_checkpoint(services.db, services.blobs, submission_id, owner)
    restore(services.db, submission_id, maintainer)
    (seen,) = get_model(services.db, services.blobs, "digits", "Linf", "Method A").looks
    assert seen.state is LookState.FAILED
    assert claim(services.db, a_worker(), LEASE_MS) is None


def test_examples_for_a_withdrawn_entry_are_sent_back(services: Services, owner: Actor, maintainer: Actor) -> None:
    submission_id = public(services, owner)
    external = send_examples(services, "Method A", points=(60,))
    work = must_claim(services.db)
    withdraw(services.db, submission_id, owner, "wait")
    seen = get_external(services.db, external.id)
    assert (seen.state, seen.reason) == (ExternalState.FAILED, "the entry was withdrawn")
    assert beat(services.db, work, LEASE_MS).value == "cancel"
    new = NewExternal(examples_sha256=services.blobs.put(examples("digits", 500)), attack="by hand")
    with pytest.raises(Conflict, match="withdrawn"):
        submit_external(services.db, services.blobs, ("digits", "Linf", "Method A"), new, Rules())
    restore(services.db, submission_id, maintainer)
    assert send_examples(services, "Method A", points=(60,)).state is ExternalState.QUEUED


@pytest.mark.slow
def test_withdrawing_at_every_moment_of_the_end_of_a_look(services: Services, owner: Actor, maintainer: Actor) -> None:
    """Whoever comes first, nobody waits for the other for ever, and the look's result is counted once or not yet."""
    steps, step = 1_000, 999  # the first time nobody interrupts, and the steps are counted
    while step >= 0:
        name = f"Method {step}"
        submission_id = public(services, owner, name, by_square=20)
        look = must_claim(services.db)
        report = shard_report(look, misclassified=0, broken=1).to_bytes()
        finish_shard(services.db, services.blobs, look, report)
        work = must_claim(services.db)
        verdicts = verdicts_on(services.blobs, work)

        end = partial(finish_judge, services.db, services.blobs, work, *verdicts)
        one, other = interleaved(services.db, end, partial(withdraw, services.db, submission_id, owner, "x"), step)
        assert other.error is None
        assert isinstance(one.error, StaleClaim | None)
        restore(services.db, submission_id, maintainer)
        sweep(services.db, services.blobs)
        if get_model(services.db, services.blobs, "digits", "Linf", name).looks[0].state is not LookState.DONE:
            judge(services.db, services.blobs)
        model = get_model(services.db, services.blobs, "digits", "Linf", name)
        assert model.row.best_known_robust_accuracy == pytest.approx(0.838)
        assert [item.source for item in model.history].count("follow-up-1") == 1
        steps = min(steps, one.steps) if step == 999 else steps
        step = (steps if step == 999 else step) - 2
    assert steps > 2


def test_what_somebody_may_decide_is_what_they_are_offered(services: Services, owner: Actor, maintainer: Actor) -> None:
    waiting, shown = pending(services, owner, "A"), public(services, owner, "B")

    def offered(submission_id: str, who: Actor) -> set[str]:
        rights = rights_on_submission(services.db, submission_id, who)
        return {name for name, given in rights.model_dump().items() if given}

    assert (offered(waiting, owner), offered(waiting, maintainer)) == (set(), {"decide", "step_in"})
    assert offered(shown, owner) == {"withdraw", "evaluate_again", "analyse"}
    assert offered(shown, maintainer) == {"withdraw", "evaluate_again", "analyse", "step_in"}
    assert offered(shown, ANYBODY) == set()
    withdraw(services.db, shown, owner, "x")
    assert (offered(shown, owner), offered(shown, maintainer)) == (set(), {"restore", "step_in"})


def test_maintainers_see_what_waits(services: Services, owner: Actor, maintainer: Actor) -> None:
    waiting = pending(services, owner, "A")
    flagged, hidden = public(services, owner, "B", by_square=20), public(services, owner, "C")
    withdraw(services.db, hidden, owner, "x")
    seen = view_moderation(services.db, maintainer)
    assert [(line.submission.id, line.sent_by) for line in seen.pending] == [(waiting, "owner")]
    assert [line.submission_id for line in seen.flagged] == [flagged]
    assert [(line.submission_id, line.withdrawn_reason) for line in seen.withdrawn] == [(hidden, "x")]
    for who, error in ((owner, Forbidden), (ANYBODY, SignInNeeded)):
        with pytest.raises(error):
            view_moderation(services.db, who)
        with pytest.raises(error):
            list_audit(services.db, who)


def test_every_refusal_says_nothing_of_the_names(services: Services, maintainer: Actor) -> None:
    owner = person(services.db, "owner")
    submission_id = send(services, owner, anonymous=True, title="Telling title", authors="Jane Doe")
    assert evaluate(services) is State.PUBLISHED
    for act in DECISIONS.values():
        with pytest.raises(GauntletError) as refused:
            act(services, submission_id, ANYBODY)
        assert not {"Jane", "Telling", "owner,"} & set(str(refused.value.as_json()).split())
