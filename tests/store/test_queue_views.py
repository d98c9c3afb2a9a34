"""What maintainers judge the queue by: how long work waits, whom it waits for, who is lost, what has failed."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from benchmark.errors import NotFound
from store import queue_views
from store.actors import ANYBODY, Actor, Forbidden, SignInNeeded
from store.intervention import fail_by_service, requeue, send_again
from store.queue import set_priority
from store.queue_views import LONG_MS, SILENT_AFTER_MS, Kin, QueueView, Standing, view_work, view_work_queue
from store.services import Services
from store.submissions import submit
from store.tables import RunRow, ShardRow, WorkerRow
from store.views import Purpose, State
from store.workers import announce, drain
from tests.store.lowered import send_examples
from tests.store.material import LEASE_MS, Rules, a_worker, must_claim, new_submission, published, running
from tests.store.test_intervention import give_out
from tests.web.material import questions


def sent(services: Services, name: str) -> str:
    return submit(services.db, services.blobs, new_submission(services.blobs, name=name), Rules()).id


def seen(services: Services, maintainer: Actor) -> QueueView:
    return view_work_queue(services.db, services.blobs, maintainer)


def test_an_empty_queue_is_well(services: Services, maintainer: Actor) -> None:
    view = seen(services, maintainer)
    assert (view.standing, view.oldest_waiting_ms, view.queued, view.running) == (Standing.EMPTY, None, 0, 0)
    assert view.submissions == dict.fromkeys(State, 0)
    assert view.free_bytes is not None
    assert view.free_bytes > 0


def test_the_word_says_what_is_wrong(services: Services, maintainer: Actor) -> None:
    sent(services, "A")
    assert seen(services, maintainer).standing is Standing.IDLE
    announce(services.db, a_worker("elsewhere", datasets=("cifar10",)))
    view = seen(services, maintainer)
    kin = Kin(dataset="digits", threat_model="Linf", needs_cuda=False, pieces=1)
    assert (view.standing, view.unfit) == (Standing.UNFIT, (kin,))
    announce(services.db, a_worker("w"))
    assert seen(services, maintainer).standing is Standing.FINE
    drain(services.db, "w")
    assert seen(services, maintainer).standing is Standing.UNFIT
    drain(services.db, "w", draining=False)
    with services.db.transaction() as session:
        session.execute(update(RunRow).values(needs_cuda=True))
    assert seen(services, maintainer).unfit == (kin.model_copy(update={"needs_cuda": True}),)
    announce(services.db, a_worker("w", devices=("cuda:0",)))
    assert seen(services, maintainer).standing is Standing.FINE
    with services.db.transaction() as session:
        session.execute(update(ShardRow).values(queued_ms=ShardRow.queued_ms - LONG_MS - 1))
    view = seen(services, maintainer)
    assert view.standing is Standing.LONG
    assert (view.oldest_waiting_ms or 0) > LONG_MS
    with services.db.transaction() as session:
        session.execute(update(WorkerRow).values(seen_ms=WorkerRow.seen_ms - SILENT_AFTER_MS))
    assert seen(services, maintainer).standing is Standing.IDLE


def test_a_piece_that_is_held_says_for_how_long(services: Services, maintainer: Actor) -> None:
    running(services.db, services.blobs, shard_points=250)
    work = must_claim(services.db, "w", LEASE_MS)
    with services.db.transaction() as session:
        shard = session.get_one(ShardRow, work.shard_id)
        shard.progress_at = (shard.progress_at or 0) - 60_000
    view = seen(services, maintainer)
    held, waiting = view.pieces
    assert (view.running, view.queued) == (1, 1)
    assert (held.worker, waiting.worker) == ("w", None)
    assert held.standing_ms is not None
    assert held.silent_ms is not None
    assert held.lease_ms is not None
    assert 60_000 <= held.standing_ms < 90_000
    assert 0 <= held.silent_ms < 30_000
    assert 0 < held.lease_ms <= LEASE_MS
    assert (waiting.standing_ms, waiting.silent_ms, waiting.lease_ms) == (None, None, None)


def test_what_failed_through_the_service_is_listed_until_it_is_dealt_with(
    services: Services, maintainer: Actor
) -> None:
    published(services.db, services.blobs)
    send_examples(services, "Method A", points=(100, 200))
    give_out(services)
    failed = sent(services, "B")
    fail_by_service(services.db, failed, "x")
    view = seen(services, maintainer)
    assert [one.id for one in view.failed_submissions] == [failed]
    (run,) = view.failed_runs
    assert (run.name, run.purpose, run.attempt) == ("Method A", Purpose.EXTERNAL, 3)
    send_again(services.db, services.blobs, services.admission, failed)
    requeue(services.db, run.shard_id)
    view = seen(services, maintainer)
    assert (view.failed_submissions, view.failed_runs) == ((), ())


def test_only_so_many_pieces_are_shown_and_all_are_counted(
    services: Services, maintainer: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_views, "MOST_PIECES", 2)
    for name in "ABC":
        sent(services, name)
    view = seen(services, maintainer)
    assert (len(view.pieces), view.queued) == (2, 3)


def test_the_questions_are_as_many_for_many_as_for_one(services: Services, maintainer: Actor) -> None:
    def asked() -> int:
        with questions(services) as found:
            seen(services, maintainer)
        return len(found)

    fail_by_service(services.db, sent(services, "A"), "x")
    sent(services, "B")
    before = asked()
    for number in range(4):
        fail_by_service(services.db, sent(services, f"C{number}"), "x")
        sent(services, f"D{number}")
        announce(services.db, a_worker(f"w{number}"))
        must_claim(services.db, f"w{number}")
    assert asked() == before
    assert before < 20


def test_the_work_on_a_submission_is_for_maintainers(services: Services, owner: Actor, maintainer: Actor) -> None:
    first, second = sent(services, "A"), sent(services, "B")
    set_priority(services.db, second, 7)
    work = view_work(services.db, second, maintainer)
    assert (work.submission.id, work.priority, [piece.submission_id for piece in work.pieces]) == (second, 7, [second])
    for submission_id in (first, "nothing"):
        with pytest.raises(Forbidden):
            view_work(services.db, submission_id, owner)
        with pytest.raises(SignInNeeded):
            view_work(services.db, submission_id, ANYBODY)
    with pytest.raises(NotFound):
        view_work(services.db, "nothing", maintainer)
    with pytest.raises(Forbidden):
        seen(services, owner)
