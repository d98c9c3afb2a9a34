"""From a submission to its row on the leaderboard."""

from __future__ import annotations

from benchmark.report import CheckOutcome
from store.blobs import LocalBlobs
from store.boards import get_board, get_model, list_boards
from store.claims import claim
from store.database import Database
from store.outcomes import finish_check, finish_judge, finish_shard
from store.submissions import get_submission, submit
from store.views import Badge, Purpose, State
from tests.store.material import Rules, a_worker, check, must_claim, new_submission, shard_report, verdicts_on


def test_whole_path(db: Database, blobs: LocalBlobs, rules: Rules) -> None:
    view = submit(db, blobs, new_submission(blobs, title="A title"), rules)
    assert (view.state, view.queue_position, view.progress.points) == (State.RECEIVED, 1, 500)

    checking = must_claim(db)
    assert (checking.kind, checking.first, checking.last) == ("check", 0, 500)
    assert (checking.norm, checking.epsilon, checking.attempt) == ("Linf", "1/5", 1)
    assert get_submission(db, view.id).state is State.CHECKING
    assert claim(db, a_worker("w2"), 1_000) is None
    checks = [check(), check("odd", CheckOutcome.FLAGGED)]
    assert finish_check(db, checking, checks, parameters=99, shard_points=500) is State.QUEUED

    work = must_claim(db)
    assert (work.kind, work.first, work.last, work.resume_sha256) == ("shard", 0, 500, None)
    assert get_submission(db, view.id).state is State.RUNNING
    report = shard_report(work)
    assert finish_shard(db, blobs, work, report.to_bytes()) is State.RUNNING

    judging = must_claim(db)
    assert (judging.kind, judging.first, judging.last) == ("judge", 0, 500)
    assert get_submission(db, view.id).state is State.RUNNING
    assert finish_judge(db, blobs, judging, *verdicts_on(blobs, judging)) is State.PUBLISHED
    # A flagged check has somebody look closer.
    assert must_claim(db).purpose is Purpose.FOLLOW_UP
    assert claim(db, a_worker("w"), 1_000) is None

    final = get_submission(db, view.id)
    assert [step.state for step in final.transitions] == [
        State.RECEIVED,
        State.CHECKING,
        State.QUEUED,
        State.RUNNING,
        State.EVALUATED,
        State.PUBLISHED,
    ]
    assert (final.progress.points_done, final.progress.fraction, final.queue_position) == (500, 1.0, None)

    row = get_board(db, "digits", "Linf").rows[0]
    assert (row.rank, row.model_id, row.badge, row.title) == (1, "Method A", Badge.EVALUATED, "A title")
    assert (row.standard_accuracy, row.robust_accuracy, row.best_known_robust_accuracy) == (0.98, 0.88, 0.88)
    assert row.robust_interval == report.robust_interval
    assert (row.potentially_unreliable, row.parameters, row.protocol) == (False, 99, "standard-1")
    assert row.findings == ("odd",)
    assert next(board for board in list_boards(db) if board.evaluated_here).leader == row

    model = get_model(db, blobs, "digits", "Linf", "Method A")
    assert model.report is not None
    assert model.report.points == report.points
    assert [item.code for item in model.report.checks] == [
        "zero_gradient",
        "odd",
        "unconfirmed_examples",
        "square_helps",
    ]
    assert model.submission == final
    assert model.checkpoint_sha256 == work.checkpoint_sha256
    assert [item.robust_accuracy for item in model.history] == [0.88]


def test_a_rejected_check_ends_the_submission_with_its_code(db: Database, blobs: LocalBlobs, rules: Rules) -> None:
    view = submit(db, blobs, new_submission(blobs), rules)
    checks = [check(), check("randomized", CheckOutcome.REJECTED)]
    assert finish_check(db, must_claim(db), checks) is State.REJECTED
    final = get_submission(db, view.id)
    assert (final.state, final.reason, final.fault) == (State.REJECTED, "randomized", "model")
    assert final.checks == tuple(checks)
    assert claim(db, a_worker("w"), 1_000) is None
    assert get_board(db, "digits", "Linf").rows == ()
