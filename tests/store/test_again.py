"""Entries evaluated again: the old numbers stand until new ones replace them, and are never forgotten."""

from __future__ import annotations

from functools import partial

import pytest
from sqlalchemy import select

from benchmark import threat_models
from benchmark.errors import Conflict
from benchmark.report import CheckOutcome
from benchmark.threat_models import official_board
from store.actors import Actor
from store.again import evaluate_again
from store.boards import get_model
from store.claims import claim, fail_attempt
from store.errors import QueueFull
from store.moderation import restore, withdraw
from store.outcomes import finish_check, finish_judge, finish_shard
from store.services import Services
from store.submissions import MAX_OPEN_EACH, get_submission
from store.sweeping import sweep
from store.tables import RunRow
from store.views import LookState, ModelView, Purpose, State
from tests.store.deciders import evaluate, send
from tests.store.interleaving import interleaved
from tests.store.lowered import judge_examples, look_closer, send_examples
from tests.store.material import (
    LEASE_MS,
    a_worker,
    check,
    finish,
    must_claim,
    shard_report,
    verdicts_of,
    verdicts_on,
)

NEW = "standard-2"


@pytest.fixture
def submission_id(services: Services, owner: Actor) -> str:
    """A published entry: of 500 points 440 are left."""
    found = send(services, owner)
    assert evaluate(services) is State.PUBLISHED
    return found


def model(services: Services) -> ModelView:
    return get_model(services.db, services.blobs, "digits", "Linf", "Method A")


def with_new_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threat_models, "RANKING_PROTOCOL", NEW)
    assert official_board("digits", "Linf").protocol == NEW


def test_an_entry_of_an_older_protocol_says_so_until_it_is_evaluated_again(
    services: Services, submission_id: str, maintainer: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = model(services)
    assert not before.row.old_protocol
    with_new_protocol(monkeypatch)
    assert model(services).row.old_protocol
    again = evaluate_again(services.db, services.blobs, submission_id, maintainer).again
    assert again is not None
    assert (again.protocol, again.state) == (NEW, LookState.QUEUED)
    unchanged = before.row.model_copy(update={"old_protocol": True, "rank": None})
    assert (model(services).row, model(services).report) == (unchanged, before.report)
    assert evaluate(services, broken=70) is State.PUBLISHED
    after = model(services)
    assert (after.row.protocol, after.row.old_protocol, after.row.robust_accuracy) == (NEW, False, 0.84)
    assert after.row.best_known_robust_accuracy == 0.84
    assert after.row.published_ms == before.row.published_ms
    assert after.report is not None
    assert after.report.protocol == NEW
    assert [(item.source.split(" (")[0], item.robust_accuracy, item.newly_broken) for item in after.history] == [
        ("Evaluated here, standard-1", 0.88, None),
        (f"Evaluated here, {NEW}", 0.84, 20),
    ]
    view = get_submission(services.db, submission_id)
    assert (view.again, view.state) == (None, State.PUBLISHED)
    assert view.seed is not None
    assert (view.seed.seed, after.report.provenance.seed) == (after.report.provenance.seed, view.seed.seed)


def test_a_key_is_not_told_before_its_run_has_ended(
    services: Services, submission_id: str, maintainer: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_new_protocol(monkeypatch)
    evaluate_again(services.db, services.blobs, submission_id, maintainer)
    with services.db.snapshot() as session:
        key = session.scalars(select(RunRow.seed_key).where(RunRow.purpose == Purpose.AGAIN)).one()
    assert key not in model(services).model_dump_json()
    assert key not in get_submission(services.db, submission_id).model_dump_json()


def test_by_the_same_protocol_nobody_gets_luckier_numbers(services: Services, submission_id: str, owner: Actor) -> None:
    """Equal keys, and what broke a point before still does."""
    evaluate_again(services.db, services.blobs, submission_id, owner)
    with services.db.snapshot() as session:
        assert len(set(session.scalars(select(RunRow.seed_key)))) == 1
    evaluate(services, broken=30)
    row = model(services).row
    assert (row.robust_accuracy, row.best_known_robust_accuracy) == (0.92, 0.88)


def test_what_others_have_broken_still_counts(services: Services, submission_id: str, maintainer: Actor) -> None:
    external = send_examples(services, "Method A", points=(300, 301))
    judge_examples(services, external, broken=(300, 301))
    evaluate_again(services.db, services.blobs, submission_id, maintainer)
    late = send_examples(services, "Method A", points=(302,))
    judge_examples(services, late, broken=(302,))
    evaluate(services, broken=70)
    row = model(services).row
    assert (row.robust_accuracy, row.best_known_robust_accuracy) == (0.84, 417 / 500)
    assert external.id in row.best_known_source
    assert "(run " in row.best_known_source


def test_a_new_finding_is_looked_at_once(services: Services, submission_id: str, maintainer: Actor) -> None:
    for _ in range(2):
        evaluate_again(services.db, services.blobs, submission_id, maintainer)
        evaluate(services, by_square=20)
    look_closer(services, broken=0)
    (look,) = model(services).looks
    assert look.state is LookState.DONE
    assert claim(services.db, a_worker(), LEASE_MS) is None


def test_what_comes_to_nothing_leaves_the_entry_as_it_was(
    services: Services, submission_id: str, maintainer: Actor
) -> None:
    before = model(services)
    evaluate_again(services.db, services.blobs, submission_id, maintainer)
    state = finish_check(services.db, must_claim(services.db), [check("randomized", CheckOutcome.REJECTED)])
    assert state is State.PUBLISHED
    view = get_submission(services.db, submission_id)
    assert view.again is not None
    assert (view.again.state, view.again.reason, view.state) == (LookState.FAILED, "randomized", State.PUBLISHED)
    evaluate_again(services.db, services.blobs, submission_id, maintainer)
    fail_attempt(services.db, must_claim(services.db), "it broke", "model")
    view = get_submission(services.db, submission_id)
    assert view.again is not None
    assert (view.again.state, view.again.reason, view.state) == (LookState.FAILED, "", State.PUBLISHED)
    evaluate_again(services.db, services.blobs, submission_id, maintainer)
    finish_check(services.db, must_claim(services.db), [check()], shard_points=512)
    work = must_claim(services.db)
    rejected = shard_report(work, broken=70)
    rejected = rejected.model_copy(update={"checks": (check("changes_state", CheckOutcome.REJECTED),)})
    finish(services.db, services.blobs, work, rejected.to_bytes())
    assert (model(services).row, model(services).report) == (before.row, before.report)
    assert sweep(services.db, services.blobs).failed == ()


def test_who_may_not_and_when_not(services: Services, submission_id: str, owner: Actor, maintainer: Actor) -> None:
    evaluate_again(services.db, services.blobs, submission_id, owner)
    with pytest.raises(Conflict, match="under way"):
        evaluate_again(services.db, services.blobs, submission_id, maintainer)
    withdraw(services.db, submission_id, owner, "x")
    assert claim(services.db, a_worker(), LEASE_MS) is None
    with pytest.raises(Conflict, match="withdrawn"):
        evaluate_again(services.db, services.blobs, submission_id, maintainer)
    restore(services.db, submission_id, maintainer)
    services.blobs.path(get_submission(services.db, submission_id).submission.checkpoint_sha256).unlink()
    with pytest.raises(Conflict, match="deleted"):
        evaluate_again(services.db, services.blobs, submission_id, maintainer)


def test_it_counts_among_its_owner_s_submissions(
    services: Services, submission_id: str, owner: Actor, maintainer: Actor
) -> None:
    for number in range(MAX_OPEN_EACH - 1):
        send(services, owner, f"Waiting {number}")
    evaluate_again(services.db, services.blobs, submission_id, owner)
    with pytest.raises(QueueFull):
        send(services, owner, "One more")
    withdraw(services.db, submission_id, owner, "x")
    restore(services.db, submission_id, maintainer)
    send(services, owner, "One more")
    with pytest.raises(QueueFull):
        evaluate_again(services.db, services.blobs, submission_id, owner)
    evaluate_again(services.db, services.blobs, submission_id, maintainer)


def test_newcomers_come_first(services: Services, submission_id: str, owner: Actor, maintainer: Actor) -> None:
    evaluate_again(services.db, services.blobs, submission_id, maintainer)
    newcomer = send(services, owner, "Method B")
    assert must_claim(services.db).submission_id == newcomer


@pytest.mark.slow
def test_an_evaluation_by_others_may_end_at_every_moment_of_the_replacement(
    services: Services, submission_id: str, maintainer: Actor
) -> None:
    never = 1_000
    step, left = never, 440  # the first time nobody interrupts, and the steps are counted
    while step >= 0:
        evaluate_again(services.db, services.blobs, submission_id, maintainer)
        finish_check(services.db, must_claim(services.db), [check()], shard_points=512)
        work = must_claim(services.db)
        finish_shard(services.db, services.blobs, work, shard_report(work).to_bytes())
        point = 500 - left + 40
        send_examples(services, "Method A", points=(point,))
        external, own = must_claim(services.db), must_claim(services.db)
        assert (external.purpose, own.purpose) == (Purpose.EXTERNAL, Purpose.AGAIN)
        end = partial(finish_judge, services.db, services.blobs, own, *verdicts_on(services.blobs, own))
        verdicts = [verdicts_of(external, (point,), [True]).to_bytes()]
        others = partial(finish_judge, services.db, services.blobs, external, verdicts, [(point,)])
        one, other = interleaved(services.db, end, others, step)
        assert (one.error, other.error) == (None, None)
        left -= 1
        assert model(services).row.best_known_robust_accuracy == left / 500
        step = (one.steps if step == never else step) - 4
