"""Closer looks: which entries get one, at which points, by the examples of whom, and what comes of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import pytest
from sqlalchemy import select

from benchmark.report import Check, CheckOutcome, EvaluationReport
from benchmark.verdicts import Verdicts
from store.blobs import LocalBlobs
from store.boards import get_board, get_model
from store.claims import Claim, claim, fail_attempt
from store.database import Database
from store.look_views import get_look
from store.looks import (
    FOLLOW_UP_PASSES,
    FOLLOW_UP_PROTOCOL,
    LEAST_POINTS,
    affordable_points,
    conclude_look,
)
from store.outcomes import finish_check, finish_judge, finish_shard
from store.publication import reduce_run
from store.queue import FOLLOW_UP
from store.services import Services
from store.sources import MOST_SOURCES
from store.submissions import get_submission, submit
from store.tables import EntryRow, RunRow, SubmissionRow
from store.views import LookState, ModelView, Purpose, State
from tests.store.lowered import doubt, judge_examples, look_closer, send_examples
from tests.store.material import (
    LEASE_MS,
    Rules,
    a_worker,
    check,
    finish,
    judge,
    must_claim,
    new_submission,
    running,
    shard_report,
    verdicts_of,
    verdicts_on,
    with_second,
)

NAME = "Method A"
CHEAP = LEAST_POINTS * FOLLOW_UP_PASSES / 600
"""Passes a second at which the board's budget of 600 seconds is just enough for the fewest points."""


def model(services: Services, name: str = NAME) -> ModelView:
    return get_model(services.db, services.blobs, "digits", "Linf", name)


def look_at(services: Services) -> Claim:
    """Claim the closer look, which nobody does before everything else is done."""
    work = must_claim(services.db)
    assert (work.kind, work.purpose) == ("shard", Purpose.FOLLOW_UP)
    return work


def costing(report: EvaluationReport, passes_per_s: float) -> EvaluationReport:
    """A report whose attacks have made so many passes in a second."""
    attacks = [
        attack.model_copy(update={"seconds": (attack.forward_passes + 2 * attack.backward_passes) / passes_per_s})
        for attack in report.attacks
    ]
    return report.model_copy(update={"attacks": tuple(attacks)})


def evaluate(
    services: Services,
    checks: Sequence[Check] = (),
    *,
    by_square: int = 0,
    second: int = 0,
    passes_per_s: float = CHEAP,
    broken: int = 50,
    **fields: object,
) -> str:
    """Evaluate a submission to the end, and return its id."""
    view = submit(services.db, services.blobs, new_submission(services.blobs, **fields), Rules())
    finish_check(services.db, must_claim(services.db), [check(), *checks], parameters=7, shard_points=500)
    work = must_claim(services.db)
    report = costing(shard_report(work, broken=broken, by_square=by_square), passes_per_s)
    second_sha256 = None
    if second:
        report, second_sha256 = with_second(report, attacked=32, broken=second), services.blobs.put(b"second")
    finish_shard(services.db, services.blobs, work, report.to_bytes(), second_sha256=second_sha256)
    assert judge(services.db, services.blobs) is State.PUBLISHED
    return view.id


DOUBTS: dict[str, tuple[dict[str, object], bool]] = {
    "nothing is flagged": ({}, False),
    "a check is flagged": ({"checks": [check("zero_gradient_in_graph", CheckOutcome.FLAGGED)]}, True),
    "a check was not possible": ({"checks": [check("zero_gradient_in_graph", CheckOutcome.NOT_ASSESSED)]}, False),
    "the standard accuracy is low": ({"checks": [check("standard_accuracy", CheckOutcome.FLAGGED)]}, False),
    "that, and more": (
        {"checks": [check(code, CheckOutcome.FLAGGED) for code in ("standard_accuracy", "randomized")]},
        True,
    ),
    "Square breaks what gradients do not": ({"by_square": 20}, True),
    "the unannounced attack breaks one": ({"second": 1}, False),
    "the unannounced attack breaks many": ({"second": 8}, True),
}


def test_an_entry_in_doubt_is_looked_at_again(services: Services) -> None:
    for number, (kind, (evaluation, expected)) in enumerate(DOUBTS.items()):
        evaluate(services, name=f"Entry {number}", **evaluation)  # type: ignore[arg-type]  # whichever matters
        looks = model(services, f"Entry {number}").looks
        states = [(look.protocol, look.state) for look in looks]
        assert states == [(FOLLOW_UP_PROTOCOL, LookState.QUEUED)] * expected, kind
        assert (claim(services.db, a_worker(), LEASE_MS) is not None) == expected, kind


def test_what_is_not_published_is_not_looked_at(services: Services) -> None:
    running(services.db, services.blobs)
    work = must_claim(services.db)
    rejected = check("changes_state", CheckOutcome.REJECTED).model_dump(mode="json")
    flagged = check("randomized", CheckOutcome.FLAGGED).model_dump(mode="json")
    report = shard_report(work).model_dump(mode="json") | {"checks": [rejected, flagged]}
    assert finish(services.db, services.blobs, work, json.dumps(report).encode()) is State.REJECTED
    assert claim(services.db, a_worker(), LEASE_MS) is None


def test_only_what_is_left_is_looked_at_and_chosen_by_lot(services: Services) -> None:
    evaluate(services, by_square=20)
    (look,) = model(services).looks
    work = look_at(services)
    assert (look.points, len(work.indices)) == (LEAST_POINTS, LEAST_POINTS)
    left = range(80, 500)  # 10 misclassified, 50 broken by APGD, 20 by Square
    lots = {index: hashlib.sha256(f"{work.seed_key}/{index}".encode()).digest() for index in left}
    assert work.indices == tuple(sorted(sorted(left, key=lots.__getitem__)[:LEAST_POINTS]))
    assert work.indices != tuple(left)[:LEAST_POINTS]


def test_the_lot_is_the_file_s_and_nothing_shown_tells_it(services: Services) -> None:
    """Another file is looked at at other points, though both have the same left; the same file at the same."""
    same: dict[str, object] = {"checkpoint_sha256": services.blobs.put(b"weights 1")}
    chosen = []
    for name, fields in (("A", {}), ("B", same), ("C", same)):
        evaluate(services, by_square=20, name=name, **fields)  # type: ignore[arg-type]  # a field of the submission
        work = look_at(services)
        chosen.append(work.indices)
        told = model(services, name)
        assert work.seed_key not in told.model_dump_json()
    assert chosen[0] != chosen[1] == chosen[2]


def test_a_look_takes_as_many_points_as_the_board_s_budget_allows(services: Services) -> None:
    """A pass may cost a hundred times more than the budget has for it, or so little that all points can be taken."""
    for times, points in ((0.01, LEAST_POINTS), (1.0, LEAST_POINTS), (2.1, 33), (12.55, 200), (1_000.0, 420)):
        name = f"Entry {points} {times}"
        evaluate(services, by_square=20, passes_per_s=times * CHEAP, name=name)
        (look,) = model(services, name).looks
        assert look.points == points
        works = []
        while work := claim(services.db, a_worker(), LEASE_MS):
            works.append(work)
        assert sum(len(work.indices) for work in works) == points
        assert max(len(work.indices) for work in works) <= 250
        assert len({index for work in works for index in work.indices}) == points


def test_what_costs_nothing_known_takes_the_fewest(on_sqlite: Database, blobs: LocalBlobs) -> None:
    view = running(on_sqlite, blobs)
    report = shard_report(must_claim(on_sqlite))
    with on_sqlite.snapshot() as session:
        submission = session.get_one(SubmissionRow, view.id)
        for nothing in ({"seconds": 0.0}, {"forward_passes": 0, "backward_passes": 0}):
            attacks = tuple(attack.model_copy(update=nothing) for attack in report.attacks)
            assert affordable_points(report.model_copy(update={"attacks": attacks}), submission) == LEAST_POINTS
        # A backward pass counts twice.
        for passes in ({"forward_passes": 300, "backward_passes": 0}, {"forward_passes": 100, "backward_passes": 100}):
            attacks = tuple(attack.model_copy(update=passes | {"seconds": 0.001}) for attack in report.attacks)
            points = int(600 / (FOLLOW_UP_PASSES * 0.001 / 300))
            assert affordable_points(report.model_copy(update={"attacks": attacks}), submission) == points


@pytest.mark.parametrize(("left", "points"), [(0, []), (1, [1]), (LEAST_POINTS - 1, [LEAST_POINTS - 1])])
def test_a_look_takes_no_more_points_than_are_left(services: Services, left: int, points: list[int]) -> None:
    evaluate(services, [check("randomized", CheckOutcome.FLAGGED)], broken=490 - left)
    assert [look.points for look in model(services).looks] == points


def test_examples_of_the_most_robust_others_are_tried_each_file_once(services: Services) -> None:
    others = {"Weak": (300, b"weights 1"), "Strong": (20, b"weights 2"), "Copy": (21, b"weights 2")}
    others |= {"Middle": (100, b"weights 3"), "Good": (40, b"weights 4"), "Itself": (10, b"weights")}
    for name, (broken, content) in others.items():
        evaluate(services, broken=broken, name=name, checkpoint_sha256=services.blobs.put(content))
    evaluate(
        services, broken=0, name="Elsewhere", threat_model="L2", checkpoint_sha256=services.blobs.put(b"weights 5")
    )
    running(services.db, services.blobs, "Open")
    must_claim(services.db)
    evaluate(services, by_square=20, architecture="tiny-mlp")
    assert model(services).looks[0].sources == ("Strong", "Good", "Middle")
    work = look_at(services)
    assert len(work.sources) == MOST_SOURCES
    assert [(source.name, source.checkpoint_sha256, source.architecture) for source in work.sources] == [
        (name, services.blobs.put(others[name][1]), "tiny-cnn") for name in ("Strong", "Good", "Middle")
    ]


def test_the_best_known_value_says_who_is_robust(services: Services) -> None:
    for number, name in enumerate(("First", "Second")):
        sha256 = services.blobs.put(b"weights %d" % number)
        evaluate(services, broken=10 * (number + 1), name=name, checkpoint_sha256=sha256)
    judge_examples(services, send_examples(services, "First"), range(100))
    evaluate(services, by_square=20)
    assert model(services).looks[0].sources == ("Second", "First")


def test_copies_of_one_file_keep_no_other_from_being_tried(services: Services) -> None:
    """However often somebody has submitted the most robust model under other names."""
    evaluate(services, broken=100, name="Other", checkpoint_sha256=services.blobs.put(b"weights 1"))
    evaluate(services, broken=20, name="Copied", checkpoint_sha256=services.blobs.put(b"weights 2"))
    with services.db.transaction() as session:
        entry = session.scalars(select(EntryRow).where(EntryRow.model_id == "Copied")).one()
        columns = [column.key for column in EntryRow.__table__.columns if column.key != "id"]
        for number in range(10 * MOST_SOURCES):
            row = {name: getattr(entry, name) for name in columns} | {"model_id": f"Copy {number}"}
            session.add(EntryRow(**row))
    evaluate(services, by_square=20)
    assert model(services).looks[0].sources == ("Copied", "Other")


def test_the_first_entry_has_no_others(services: Services) -> None:
    evaluate(services, by_square=20)
    assert (model(services).looks[0].sources, look_at(services).sources) == ((), ())


def test_everything_else_comes_first(services: Services) -> None:
    doubt(services, NAME)
    with services.db.snapshot() as session:
        priority = session.scalars(select(RunRow.priority).where(RunRow.purpose == Purpose.FOLLOW_UP)).one()
        assert priority == FOLLOW_UP < min(session.scalars(select(RunRow.priority).where(RunRow.priority != priority)))
    send_examples(services, NAME)
    view = submit(services.db, services.blobs, new_submission(services.blobs, name="Method B"), Rules())
    works = [must_claim(services.db)]
    works.append(must_claim(services.db))
    assert {(work.kind, work.purpose) for work in works} == {("judge", Purpose.EXTERNAL), ("check", Purpose.RANKING)}
    (checking,) = [work for work in works if work.kind == "check"]
    finish_check(services.db, checking, [check()], parameters=1, shard_points=500)
    assert must_claim(services.db).submission_id == view.id
    look_at(services)


def test_what_it_breaks_lowers_the_best_known_value_and_nothing_else(services: Services) -> None:
    view = doubt(services, NAME, unannounced=3)
    before = model(services)
    assert before.row.best_known_robust_accuracy == 437 / 500
    work = look_at(services)
    assert model(services).looks[0].state is LookState.RUNNING
    report = shard_report(work, misclassified=0, broken=5, by_square=2)
    finish(services.db, services.blobs, work, report.to_bytes())
    after = model(services)
    # The look does not know of the three points that the unannounced attack broke, and may have taken them.
    known = {60, 61, 62}
    newly = len(set(work.indices[:7]) - known)
    assert [(item.source, item.newly_broken) for item in after.history[2:]] == [(FOLLOW_UP_PROTOCOL, newly)]
    assert after.row.best_known_robust_accuracy == (437 - newly) / 500
    assert after.row.best_known_source == f"{before.row.best_known_source} + {FOLLOW_UP_PROTOCOL}"
    assert (after.row.robust_accuracy, after.row.findings) == (before.row.robust_accuracy, before.row.findings)
    assert after.report == before.report
    assert get_submission(services.db, view.id) == before.submission
    (look,) = after.looks
    assert (look.state, look.broken, look.points) == (LookState.DONE, 7, len(work.indices))
    found = get_look(services.db, services.blobs, "digits", "Linf", NAME, look.number)
    assert found.points.index == work.indices
    assert (found.protocol, sum(found.points.robust)) == (FOLLOW_UP_PROTOCOL, look.points - 7)
    assert get_board(services.db, "digits", "Linf").rows[0] == after.row


def test_a_look_that_breaks_nothing_is_on_record(services: Services) -> None:
    doubt(services, NAME)
    before = model(services)
    look_closer(services, broken=0)
    after = model(services)
    assert (after.looks[0].state, after.looks[0].broken) == (LookState.DONE, 0)
    assert after.row == before.row
    assert [(item.source, item.newly_broken) for item in after.history[len(before.history) :]] == [
        (FOLLOW_UP_PROTOCOL, 0)
    ]


def test_a_look_that_misclassifies_a_clean_point_breaks_nothing_by_it(services: Services) -> None:
    evaluate(services, by_square=20)
    work = look_at(services)
    report = shard_report(work, misclassified=2, broken=1)
    finish(services.db, services.blobs, work, report.to_bytes())
    assert model(services).row.best_known_robust_accuracy == (420 - 1) / 500


def otherwise(verdicts: Verdicts, work: Claim, robust: Sequence[int]) -> bytes:
    """The verdicts, with these points not broken after all."""
    holds = [index in verdicts.broken and index not in robust for index in verdicts.index]
    return verdicts_of(work, verdicts.index, holds).to_bytes()


def test_examples_that_another_process_does_not_confirm_do_not_count(services: Services) -> None:
    evaluate(services, by_square=20)
    work = look_at(services)
    finish_shard(services.db, services.blobs, work, shard_report(work, misclassified=0, broken=6).to_bytes())
    judging = must_claim(services.db)
    found, indices = verdicts_on(services.blobs, judging)
    doubtful = work.indices[1:3]
    changed = [otherwise(Verdicts.from_bytes(found[0]), judging, doubtful)]
    finish_judge(services.db, services.blobs, judging, changed, indices)
    after = model(services)
    assert after.looks[0].state is LookState.DONE
    assert after.history[-1].newly_broken == 4
    assert after.row.best_known_robust_accuracy == (420 - 4) / 500


def test_verdicts_alone_break_nothing(services: Services) -> None:
    """Where the look says that a point is robust, a judge that says otherwise has no example of it."""
    evaluate(services, by_square=20)
    work = look_at(services)
    finish_shard(services.db, services.blobs, work, shard_report(work, misclassified=0, broken=1).to_bytes())
    judging = must_claim(services.db)
    hostile = verdicts_of(judging, work.indices, [True] * len(work.indices))
    finish_judge(services.db, services.blobs, judging, [hostile.to_bytes()], [work.indices])
    assert model(services).history[-1].newly_broken == 1


def test_shards_of_a_look_are_counted_together_and_once(services: Services) -> None:
    evaluate(services, by_square=20, passes_per_s=1_000 * CHEAP)
    works = [look_at(services), look_at(services)]
    reports = [shard_report(work, misclassified=0, broken=3 + number) for number, work in enumerate(works)]
    for work, report in reversed(list(zip(works, reports, strict=True))):
        before = model(services).row
        finish_shard(services.db, services.blobs, work, report.to_bytes())
        assert model(services).row == before
    judging = must_claim(services.db)
    found, indices = verdicts_on(services.blobs, judging)
    finish_judge(services.db, services.blobs, judging, found, indices)
    after = model(services)
    assert after.history[-1].newly_broken == 7
    assert after.row.best_known_robust_accuracy == (420 - 7) / 500
    more = [shard_report(work, misclassified=0, broken=20) for work in works]
    verdicts = [
        verdicts_of(judging, report.points.index, [not robust for robust in report.points.robust]) for report in more
    ]
    conclude_look(services.db, services.blobs, judging.run_id, more, verdicts)
    assert reduce_run(services.db, services.blobs, judging.run_id) is State.PUBLISHED
    assert model(services) == after


def test_a_look_that_fails_leaves_the_entry_as_it_was(services: Services) -> None:
    view = doubt(services, NAME)
    before = model(services)
    for _ in range(3):
        fail_attempt(services.db, look_at(services), "no more memory", "service")
    after = model(services)
    assert (after.looks[0].state, after.looks[0].broken) == (LookState.FAILED, None)
    assert (after.row, after.history, after.submission) == (before.row, before.history, before.submission)
    assert get_submission(services.db, view.id).state is State.PUBLISHED
    assert claim(services.db, a_worker(), LEASE_MS) is None


def test_a_look_and_others_count_towards_one_value(services: Services) -> None:
    evaluate(services, by_square=20)
    work = look_at(services)
    both, alone = work.indices[0], next(index for index in range(80, 500) if index not in work.indices)
    view = judge_examples(services, send_examples(services, NAME), [both, alone])
    report = shard_report(work, misclassified=0, broken=2)
    finish(services.db, services.blobs, work, report.to_bytes())
    after = model(services)
    assert [item.newly_broken for item in after.history[1:]] == [2, 1]
    assert after.row.best_known_robust_accuracy == (420 - 3) / 500
    source = f"by hand (external evaluation {view.id})"
    assert after.row.best_known_source == f"Evaluated here, standard-1 + {source} + {FOLLOW_UP_PROTOCOL}"
