"""Analyses in the store: who may ask for them, what they never touch, and how they end."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from benchmark.analysis.results import Analysis, Calibration, Study, Transferability
from benchmark.errors import Conflict, EvaluationFailed, InvalidSubmission, NotFound
from benchmark.report import Part
from benchmark.threat_models import official_board
from store.actors import ANYBODY, Actor, Forbidden, SignInNeeded
from store.analyses import AGAIN_AFTER_MS, StoredStudy, analyse, find_study, finish_analysis
from store.boards import get_model
from store.checkpoint_deletion import delete_checkpoint
from store.claims import MAX_ATTEMPTS, Claim, claim, fail_attempt
from store.errors import StaleClaim
from store.figures import queued_since
from store.intervention import requeue
from store.moderation import restore, withdraw
from store.queue import view_queue
from store.services import Services
from store.submissions import get_submission
from store.sweeping import sweep
from store.tables import RunRow, ShardRow
from store.views import State
from tests.store.deciders import evaluate, person, send
from tests.store.material import CHECKPOINT, LEASE_MS, a_worker, expire, must_claim

BOARD = official_board("digits", "Linf")
NAME = "Method A"
CALIBRATION = Calibration(points=500, ece=0.02, temperature=0.5, ece_at_temperature=0.01, on_border=False, bins=())


def shown(services: Services, owner: Actor, name: str = NAME, *, analyse: bool = False) -> str:
    """Put an entry on its board."""
    sha256 = services.blobs.put(CHECKPOINT + name.encode())  # a file of its own
    submission_id = send(services, owner, name, checkpoint_sha256=sha256, analyse=analyse)
    assert evaluate(services) is State.PUBLISHED
    return submission_id


def found(services: Services, name: str = NAME) -> StoredStudy:
    stored = find_study(services.db, services.blobs, BOARD, name)
    assert stored is not None
    return stored


def made(services: Services) -> tuple[Analysis, ...]:
    study = found(services).study
    return study.made if study is not None else ()


def study_for(work: Claim, result: Part | None = None, **changes: object) -> Study:
    """What leaves the claimed analysis out, or has that result of it."""
    assert work.analysis is not None
    study = Study(
        dataset="digits",
        norm=work.norm,
        epsilon=work.epsilon,
        points=len(work.indices),
        seed=work.seed,
        checkpoint_sha256=work.checkpoint_sha256,
        standard_accuracy=0.98,
        left_out={} if result is not None else {work.analysis: "no data"},
        seconds={},
    )
    return study.model_copy(update=({work.analysis.value: result} if result is not None else {}) | changes)


def do(services: Services, work: Claim, result: Part | None = None, **changes: object) -> None:
    finish_analysis(services.db, services.blobs, work, study_for(work, result, **changes).to_bytes())


def do_all(services: Services) -> None:
    while (work := claim(services.db, a_worker(), LEASE_MS)) is not None:
        do(services, work, CALIBRATION if work.analysis is Analysis.CALIBRATION else None)


def test_whoever_submits_may_ask_and_everything_else_comes_first(services: Services, owner: Actor) -> None:
    before = shown(services, owner, "Method B")
    submission_id = shown(services, owner, analyse=True)
    assert get_submission(services.db, submission_id).submission.analyse
    assert not get_submission(services.db, before).submission.analyse
    assert find_study(services.db, services.blobs, BOARD, "Method B") is None
    assert (found(services).study, found(services).pending, found(services).failed) == (None, tuple(Analysis), ())
    report = get_model(services.db, services.blobs, "digits", "Linf", NAME).report
    send(services, owner, "Method C")
    queued = {piece.shard_id for piece in view_queue(services.db) if piece.analysis is not None}
    with services.db.transaction() as session:
        session.execute(update(ShardRow).where(ShardRow.id.in_(queued)).values(queued_ms=1))
    with services.db.snapshot() as session:
        assert (queued_since(session) or 0) > 1, "that they wait for long is nobody's concern"
    first = must_claim(services.db)
    assert first.kind == "check"
    with services.db.snapshot() as session:
        assert queued_since(session) == 1, "but for who has nothing else to do"
    assert [must_claim(services.db).analysis for _ in Analysis] == list(Analysis)
    assert claim(services.db, a_worker(), LEASE_MS) is None
    assert get_model(services.db, services.blobs, "digits", "Linf", NAME).report == report
    with pytest.raises(NotFound, match="Method Z"):
        find_study(services.db, services.blobs, BOARD, "Method Z")


def test_nobody_is_analysed_where_nobody_attacks(services: Services, owner: Actor) -> None:
    with pytest.raises(InvalidSubmission, match="analyse: found a wish to be analysed on digits/corruptions"):
        send(services, owner, threat_model="corruptions", analyse=True)


def test_what_is_found_appears_piece_by_piece(services: Services, owner: Actor, maintainer: Actor) -> None:
    submission_id = shown(services, owner)
    analyse(services.db, services.blobs, submission_id, owner)
    do(services, must_claim(services.db), CALIBRATION)
    half = found(services)
    assert (made(services), len(half.pending)) == ((Analysis.CALIBRATION,), len(Analysis) - 1)
    with pytest.raises(Conflict, match="analyses that are under way"):
        analyse(services.db, services.blobs, submission_id, owner)
    do_all(services)
    all_of_it = found(services)
    assert (made(services), all_of_it.pending, all_of_it.failed) == ((Analysis.CALIBRATION,), (), ())
    assert all_of_it.study is not None
    assert set(all_of_it.study.left_out) == set(Analysis) - {Analysis.CALIBRATION}
    assert all_of_it.sha256 != half.sha256
    with pytest.raises(Conflict, match="less than a day old"):
        analyse(services.db, services.blobs, submission_id, owner)
    with services.db.transaction() as session:
        session.execute(update(RunRow).values(created_ms=RunRow.created_ms - AGAIN_AFTER_MS))
    analyse(services.db, services.blobs, submission_id, owner)
    do_all(services)
    # Anew: what was found before stands until it is found again.
    analyse(services.db, services.blobs, submission_id, maintainer)
    assert (made(services), found(services).pending) == ((Analysis.CALIBRATION,), tuple(Analysis))
    do(services, must_claim(services.db), CALIBRATION.model_copy(update={"ece": 0.03}))
    study = found(services).study
    assert study is not None
    assert study.calibration is not None
    assert study.calibration.ece == 0.03
    assert set(study.left_out) == set(Analysis) - {Analysis.CALIBRATION}


def test_only_its_owner_and_maintainers_may_ask(services: Services, owner: Actor) -> None:
    submission_id = shown(services, owner)
    with pytest.raises(SignInNeeded):
        analyse(services.db, services.blobs, submission_id, ANYBODY)
    with pytest.raises(Forbidden):
        analyse(services.db, services.blobs, submission_id, person(services.db, "other"))
    withdraw(services.db, submission_id, owner, "A copy.")
    with pytest.raises(Conflict, match="expected published"):
        analyse(services.db, services.blobs, submission_id, owner)
    with pytest.raises(NotFound):
        analyse(services.db, services.blobs, "0194f0a1b2c3d4e5f607", owner)


def test_the_operator_may_ask_at_any_time(services: Services, owner: Actor) -> None:
    submission_id = shown(services, owner)
    for _ in range(2):
        analyse(services.db, services.blobs, submission_id)
        do_all(services)
    assert made(services) == (Analysis.CALIBRATION,)


def changed(work: Claim) -> dict[str, Study]:
    """Studies that are not those of the claimed work."""
    sound = study_for(work, CALIBRATION)
    other = "0" * 64
    wrong: dict[str, dict[str, object]] = {
        "seed": {"seed": sound.seed + 1},
        "points": {"points": 499},
        "epsilon": {"epsilon": "8/255"},
        "norm": {"norm": "L2"},
        "dataset": {"dataset": "mnist"},
        "checkpoint": {"checkpoint_sha256": other},
        "analysis": {"left_out": {Analysis.CURVE: "it is another"}},
    }
    return {name: sound.model_copy(update=change) for name, change in wrong.items()}


def test_what_is_not_of_this_work_changes_nothing(services: Services, owner: Actor) -> None:
    analyse(services.db, services.blobs, shown(services, owner), owner)
    work = must_claim(services.db)
    for name, study in changed(work).items():
        with pytest.raises(EvaluationFailed, match=f"its {name} differ"):
            finish_analysis(services.db, services.blobs, work, study.to_bytes())
    for content in (b"", b"[]", b'{"calibration":{"ece":2}}'):
        with pytest.raises(EvaluationFailed, match="not valid"):
            finish_analysis(services.db, services.blobs, work, content)
    assert found(services).pending == tuple(Analysis)
    do(services, work, CALIBRATION)
    with pytest.raises(StaleClaim):
        do(services, work, CALIBRATION)


def test_examples_are_carried_over_to_the_most_robust_others_of_that_moment(services: Services, owner: Actor) -> None:
    analyse(services.db, services.blobs, shown(services, owner), owner)
    shown(services, owner, "Method B")
    works = [must_claim(services.db) for _ in Analysis]
    assert {work.analysis for work in works if work.sources} == {Analysis.TRANSFER}
    (work,) = (work for work in works if work.sources)
    assert [source.name for source in work.sources] == ["Method B"]
    matrix = Transferability(method="pgd-10", points=500, names=(NAME, "Somebody"), robust=((0.5, 0.5), (0.5, 0.5)))
    with pytest.raises(EvaluationFailed, match="its other models differ"):
        do(services, work, matrix)
    do(services, work, matrix.model_copy(update={"names": (NAME, "Method B")}))
    assert Analysis.TRANSFER in made(services)


def test_one_that_fails_takes_no_other_along(services: Services, owner: Actor, maintainer: Actor) -> None:
    submission_id = shown(services, owner)
    analyse(services.db, services.blobs, submission_id, owner)
    for _ in range(MAX_ATTEMPTS):
        work = must_claim(services.db)
        assert work.analysis is Analysis.CALIBRATION
        fail_attempt(services.db, work, "it broke off", "service")
    work = must_claim(services.db)
    assert work.analysis is Analysis.OOD
    fail_attempt(services.db, work, "the model failed", "model")
    silent = must_claim(services.db)
    for _ in range(MAX_ATTEMPTS):
        expire(services.db, silent)
        sweep(services.db, services.blobs)
        silent = must_claim(services.db)
    assert silent.analysis is Analysis.PRIVACY
    do(services, silent)
    do_all(services)
    stored = found(services)
    assert stored.failed == (Analysis.CALIBRATION, Analysis.OOD, Analysis.FAIRNESS)
    assert stored.pending == ()
    assert get_submission(services.db, submission_id).state is State.PUBLISHED
    assert sweep(services.db, services.blobs).failed == ()
    # A maintainer may let it go on.
    again = requeue(services.db, work.shard_id, maintainer)
    assert len(again) == len(stored.failed)
    do_all(services)
    assert (made(services), found(services).failed) == ((Analysis.CALIBRATION,), ())


def test_a_withdrawal_suspends_them(services: Services, owner: Actor, maintainer: Actor) -> None:
    submission_id = shown(services, owner)
    analyse(services.db, services.blobs, submission_id, owner)
    work = must_claim(services.db)
    withdraw(services.db, submission_id, owner, "A copy.")
    with pytest.raises(StaleClaim):
        do(services, work, CALIBRATION)
    assert claim(services.db, a_worker(), LEASE_MS) is None
    restore(services.db, submission_id, maintainer)
    do_all(services)
    assert (made(services), found(services).pending) == ((Analysis.CALIBRATION,), ())


def test_a_file_is_not_deleted_while_it_is_analysed(services: Services, owner: Actor) -> None:
    submission_id = shown(services, owner)
    analyse(services.db, services.blobs, submission_id, owner)
    with pytest.raises(Conflict, match="analyses"):
        delete_checkpoint(services.db, services.blobs, submission_id, owner)
    do_all(services)
    delete_checkpoint(services.db, services.blobs, submission_id, owner)
    assert made(services) == (Analysis.CALIBRATION,)
    with pytest.raises(Conflict, match="a file that was deleted"):
        analyse(services.db, services.blobs, submission_id, owner)
