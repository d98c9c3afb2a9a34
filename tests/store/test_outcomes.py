"""What workers hand in is hostile until validated; what is merged is what the shards said."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial

import pytest
from sqlalchemy.exc import IntegrityError

from benchmark.errors import EvaluationFailed
from benchmark.merging import worst_of
from benchmark.report import Check, CheckOutcome, EvaluationReport, SandboxLevel, canonical_json
from benchmark.summing_up import wilson_interval
from store.blobs import LocalBlobs
from store.boards import get_board, get_model
from store.claims import Claim, beat, claim
from store.database import Database
from store.outcomes import finish_check, finish_judge, finish_shard
from store.publication import reduce_run
from store.queue import blocks
from store.submissions import cancel, ensure_submission, get_submission, submit
from store.tables import EntryRow
from store.views import Progress, State
from tests.store.interleaving import at_once
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


def altered(report: EvaluationReport, **changes: object) -> bytes:
    return canonical_json(report.model_dump(mode="json") | changes)


def with_provenance(report: EvaluationReport, **changes: object) -> bytes:
    return altered(report, provenance=report.provenance.model_dump(mode="json") | changes)


HOSTILE: dict[str, Callable[[Claim], bytes]] = {
    "no JSON": lambda work: b"\x00\xff",
    "no report": lambda work: b"[]",
    "an unknown field": lambda work: altered(shard_report(work), extra=1),
    "a better accuracy": lambda work: altered(shard_report(work), robust_accuracy=0.97),
    "not a number": lambda work: shard_report(work).to_bytes().replace(b'"seconds":1.5', b'"seconds":NaN'),
    "another norm": lambda work: altered(shard_report(work), norm="L2"),
    "a smaller budget": lambda work: altered(shard_report(work), epsilon="1/255"),
    "another data set": lambda work: altered(shard_report(work), dataset="cifar10"),
    "another protocol": lambda work: altered(shard_report(work), protocol="standard-0"),
    "another model": lambda work: with_provenance(shard_report(work), checkpoint_sha256="0" * 64),
    "no model": lambda work: with_provenance(shard_report(work), checkpoint_sha256=None),
    "another seed": lambda work: shard_report(work, seed=1).to_bytes(),
    "fewer points": lambda work: shard_report(work.model_copy(update={"indices": work.indices[:-1]})).to_bytes(),
    "other points": lambda work: shard_report(
        work.model_copy(update={"indices": tuple(index + 1 for index in work.indices)})
    ).to_bytes(),
    "a second attack without examples": lambda work: with_second(shard_report(work)).to_bytes(),
    "too many bytes": lambda work: bytes(64 * 1024 * 1024 + 1),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_report_changes_nothing(db: Database, blobs: LocalBlobs, kind: str) -> None:
    view = running(db, blobs)
    work = must_claim(db)
    before = get_submission(db, view.id)
    with pytest.raises(EvaluationFailed):
        finish_shard(db, blobs, work, HOSTILE[kind](work))
    assert get_submission(db, view.id) == before
    assert finish(db, blobs, work, shard_report(work).to_bytes()) is State.PUBLISHED


@pytest.mark.parametrize(
    ("points", "size", "expected"),
    [
        (500, 512, ((0, 500),)),
        (512, 512, ((0, 512),)),
        (513, 512, ((0, 256), (256, 513))),
        (500, 200, ((0, 166), (166, 333), (333, 500))),
        (1, 1, ((0, 1),)),
    ],
)
def test_blocks(points: int, size: int, expected: tuple[tuple[int, int], ...]) -> None:
    assert blocks(points, size) == expected


def test_progress_is_added_up_over_shards(db: Database, blobs: LocalBlobs) -> None:
    """A finished shard counts as its report says; one that has said nothing may still be wholly robust."""
    view = running(db, blobs, shard_points=200)
    first, second, silent = (must_claim(db) for _ in range(3))
    beat(db, first, LEASE_MS, Progress(points_done=1, robust_accuracy_at_most=165 / 166, forward_passes=9))
    finish_shard(db, blobs, first, shard_report(first, misclassified=10, broken=50).to_bytes())
    told = Progress(points_done=67, attacks_done=1, attacks=2, fraction=0.5, robust_accuracy_at_most=100 / 167)
    beat(db, second, LEASE_MS, told.model_copy(update={"forward_passes": 4_000, "backward_passes": 3_000}))
    progress = get_submission(db, view.id).progress
    left = 106 + 100 + (silent.last - silent.first)
    assert progress == Progress(
        points=500,
        points_done=166 + 67,
        attacks_done=0,
        attacks=2,
        robust_accuracy_at_most=left / 500,
        robust_interval_at_most=wilson_interval(left, 500),
        forward_passes=156 + 106 + 4_000,
        backward_passes=156 + 106 + 3_000,
    )


def test_shards_merge_into_one_report(db: Database, blobs: LocalBlobs) -> None:
    view = running(db, blobs, shard_points=200)
    works = [must_claim(db) for _ in range(3)]
    assert [(work.first, work.last) for work in works] == [(0, 166), (166, 333), (333, 500)]
    beat(db, works[0], LEASE_MS, Progress(points_done=66, attack="square", attacks_done=1, attacks=2, fraction=0.25))
    assert finish_shard(db, blobs, works[1], shard_report(works[1], broken=10).to_bytes()) is State.RUNNING
    assert finish_shard(db, blobs, works[2], shard_report(works[2], broken=20).to_bytes()) is State.RUNNING
    progress = get_submission(db, view.id).progress
    assert (progress.points, progress.points_done, progress.attack, progress.attacks_done) == (
        500,
        66 + 334,
        "square",
        1,
    )
    assert get_board(db, "digits", "Linf").rows == ()
    assert finish_shard(db, blobs, works[0], shard_report(works[0], broken=30).to_bytes()) is State.RUNNING
    assert get_board(db, "digits", "Linf").rows == ()
    assert judge(db, blobs) is State.PUBLISHED

    report = get_model(db, blobs, "digits", "Linf", "Method A").report
    assert report is not None
    assert report.points.index == tuple(range(500))
    assert (report.standard_accuracy, report.robust_accuracy) == (470 / 500, 410 / 500)
    assert report.attacks[0].broken == 60
    assert report.provenance.shards is not None
    assert [block.points for block in report.provenance.shards] == [166, 167, 167]
    assert report.examples_sha256 == hashlib.sha256(bytes.fromhex("e" * 64) * 3).hexdigest()
    assert get_board(db, "digits", "Linf").rows[0].robust_accuracy == 0.82


def test_names_in_a_report_are_the_submissions_not_the_childs(db: Database, blobs: LocalBlobs, rules: Rules) -> None:
    ensure_submission(db, blobs, new_submission(blobs), rules, baseline=True, zoo_id="Tiny")
    finish_check(db, must_claim(db), [check()], parameters=1, shard_points=500)
    work = must_claim(db)
    lying = with_provenance(shard_report(work), architecture="enormous", zoo_id="Somebody")
    assert finish(db, blobs, work, lying) is State.PUBLISHED
    report = get_model(db, blobs, "digits", "Linf", "Method A").report
    assert report is not None
    assert (report.provenance.architecture, report.provenance.zoo_id) == ("tiny-cnn", "Tiny")


def test_reducing_twice_publishes_once(db: Database, blobs: LocalBlobs) -> None:
    view = running(db, blobs)
    work = must_claim(db)
    assert reduce_run(db, blobs, work.run_id) is State.RUNNING
    finish_shard(db, blobs, work, shard_report(work).to_bytes())
    for _ in range(2):
        assert reduce_run(db, blobs, work.run_id) is State.RUNNING
    judge(db, blobs)
    assert claim(db, a_worker(), LEASE_MS) is None
    before = get_submission(db, view.id)
    assert reduce_run(db, blobs, work.run_id) is State.PUBLISHED
    assert get_submission(db, view.id) == before
    assert len(get_board(db, "digits", "Linf").rows) == 1


def test_finishers_at_the_same_moment_have_it_judged_and_published_once(db: Database, blobs: LocalBlobs) -> None:
    running(db, blobs, shard_points=100)
    works = [must_claim(db) for _ in range(5)]
    reports = [shard_report(work).to_bytes() for work in works]
    outcomes = at_once(*[partial(finish_shard, db, blobs, *done) for done in zip(works, reports, strict=True)])
    assert [outcome.error for outcome in outcomes] == [None] * 5
    assert judge(db, blobs) is State.PUBLISHED
    assert claim(db, a_worker(), LEASE_MS) is None
    assert len(get_board(db, "digits", "Linf").rows) == 1


class Interrupted(LocalBlobs):
    """Blobs at whose first reading something else happens."""

    meanwhile: Callable[[], object] | None = None

    def read(self, sha256: str) -> bytes:
        act, self.meanwhile = self.meanwhile, None
        if act is not None:
            act()
        return super().read(sha256)


@pytest.mark.parametrize(("meanwhile", "state"), [("reduced", State.PUBLISHED), ("cancelled", State.CANCELLED)])
def test_a_reducer_that_comes_second_changes_nothing(
    db: Database, blobs: LocalBlobs, meanwhile: str, state: State
) -> None:
    view = running(db, blobs)
    work = must_claim(db)
    finish_shard(db, blobs, work, shard_report(work).to_bytes())
    judging = must_claim(db)
    slow = Interrupted(blobs.root, free_floor_bytes=0)
    slow.meanwhile = lambda: (
        reduce_run(db, blobs, work.run_id) if meanwhile == "reduced" else cancel(db, work.submission_id)
    )
    assert finish_judge(db, slow, judging, *verdicts_on(blobs, judging)) is state
    assert get_submission(db, view.id).state is state
    assert len(get_board(db, "digits", "Linf").rows) == (meanwhile == "reduced")


def test_a_check_that_fails_during_the_run_rejects_the_model(db: Database, blobs: LocalBlobs) -> None:
    view = running(db, blobs)
    work = must_claim(db)
    report = shard_report(work)
    replayed = check("changes_state", CheckOutcome.REJECTED).model_dump(mode="json")
    assert finish(db, blobs, work, altered(report, checks=[replayed])) is State.REJECTED
    final = get_submission(db, view.id)
    assert (final.reason, final.fault) == ("changes_state", "model")
    assert "changes_state" in {found.code for found in final.checks}
    assert get_board(db, "digits", "Linf").rows == ()


def test_shards_that_cannot_be_merged_fail_the_submission(db: Database, blobs: LocalBlobs) -> None:
    view = running(db, blobs, shard_points=250)
    works = [must_claim(db) for _ in range(2)]
    finish_shard(db, blobs, works[0], shard_report(works[0]).to_bytes())
    assert finish(db, blobs, works[1], with_provenance(shard_report(works[1]), slot_width=8)) is State.FAILED
    assert get_submission(db, view.id).fault == "service"


def test_the_worst_outcome_of_a_check_counts() -> None:
    outcomes = [CheckOutcome.NOT_ASSESSED, CheckOutcome.PASSED, CheckOutcome.FLAGGED, CheckOutcome.REJECTED]
    for i, worse in enumerate(outcomes):
        for better in outcomes[: i + 1]:
            both: list[Check] = [check("a", better), check("b"), check("a", worse)]
            for order in (both, both[::-1]):
                assert {found.code: found.outcome for found in worst_of(order)} == {
                    "a": worse,
                    "b": CheckOutcome.PASSED,
                }


HOSTILE_VERDICTS: dict[str, Callable[[Claim, tuple[int, ...]], list[bytes]]] = {
    "no JSON": lambda work, index: [b"\x00\xff"],
    "no verdicts": lambda work, index: [b"{}"],
    "on no file": lambda work, index: [],
    "on two files": lambda work, index: [verdicts_of(work, index, [True] * 500).to_bytes()] * 2,
    "fewer points": lambda work, index: [verdicts_of(work, index[1:], [True] * 499).to_bytes()],
    "another model": lambda work, index: [
        verdicts_of(work.model_copy(update={"checkpoint_sha256": "0" * 64}), index, [True] * 500).to_bytes()
    ],
    "a greater budget": lambda work, index: [
        verdicts_of(work.model_copy(update={"epsilon": "1/2"}), index, [True] * 500).to_bytes()
    ],
    "far away, and yet it holds": lambda work, index: [
        verdicts_of(work, index, [True] * 500).to_bytes().replace(b"0.1", b"0.9")
    ],
}


@pytest.mark.parametrize("kind", HOSTILE_VERDICTS)
def test_hostile_verdicts_change_nothing(db: Database, blobs: LocalBlobs, kind: str) -> None:
    view = running(db, blobs)
    work = must_claim(db)
    finish_shard(db, blobs, work, shard_report(work).to_bytes())
    judging = must_claim(db)
    _, indices = verdicts_on(blobs, judging)
    before = get_submission(db, view.id)
    with pytest.raises(EvaluationFailed):
        finish_judge(db, blobs, judging, HOSTILE_VERDICTS[kind](judging, indices[0]), indices)
    assert get_submission(db, view.id) == before
    assert finish_judge(db, blobs, judging, *verdicts_on(blobs, judging)) is State.PUBLISHED


@pytest.mark.parametrize(("otherwise", "state"), [(0, "passed"), (1, "flagged"), (2, "rejected")])
def test_what_another_process_judges_otherwise_is_told_and_more_of_it_rejects_the_model(
    db: Database, blobs: LocalBlobs, otherwise: int, state: str
) -> None:
    """Of 500 points one may be judged otherwise: 2 of 1,000."""
    view = running(db, blobs)
    work = must_claim(db)
    report = shard_report(work)
    finish_shard(db, blobs, work, report.to_bytes())
    judging = must_claim(db)
    assert (judging.kind, judging.indices) == ("judge", work.indices)
    broken = [not robust for robust in report.points.robust]
    broken[20 : 20 + otherwise] = [False] * otherwise
    found = [verdicts_of(judging, work.indices, broken).to_bytes()]
    finish_judge(db, blobs, judging, found, [work.indices], sandbox=SandboxLevel.LANDLOCK)
    final = get_submission(db, view.id)
    (own,) = [check for check in final.checks if check.code == "unconfirmed_examples"]
    assert (own.outcome.value, own.value) == (state, otherwise / 500)
    assert final.state is (State.REJECTED if state == "rejected" else State.PUBLISHED)
    assert len(get_board(db, "digits", "Linf").rows) == (state != "rejected")


def test_what_the_second_attack_breaks_lowers_the_best_known_value_alone(db: Database, blobs: LocalBlobs) -> None:
    running(db, blobs, shard_points=250)
    works = [must_claim(db) for _ in range(2)]
    for number, work in enumerate(works):
        report = with_second(shard_report(work), attacked=32, broken=number)
        finish_shard(db, blobs, work, report.to_bytes(), second_sha256=blobs.put(b"second"))
    judging = must_claim(db)
    assert [examples.second_sha256 for examples in judging.examples] == [blobs.put(b"second")] * 2
    found, indices = verdicts_on(blobs, judging)
    assert [len(index) for index in indices] == [250, 32, 250, 32]
    finish_judge(db, blobs, judging, found, indices)
    model = get_model(db, blobs, "digits", "Linf", "Method A")
    assert model.report is not None
    assert model.report.second_attack is not None
    assert (len(model.report.second_attack.index), sum(model.report.second_attack.broken)) == (64, 1)
    assert model.row.robust_accuracy == model.report.robust_accuracy == 0.76
    assert model.row.best_known_robust_accuracy == 0.758
    assert model.row.best_known_source == "Evaluated here, standard-1 + the unannounced attack"
    assert [(item.source, item.newly_broken) for item in model.history] == [
        ("Evaluated here, standard-1", None),
        ("the unannounced attack", 1),
    ]
    assert "unannounced_attack" not in model.row.findings


def test_nothing_is_published_of_a_cancelled_run(db: Database, blobs: LocalBlobs) -> None:
    view = running(db, blobs, shard_points=250)
    first, second = must_claim(db), must_claim(db)
    finish_shard(db, blobs, first, shard_report(first).to_bytes())
    cancel(db, view.id)
    assert reduce_run(db, blobs, second.run_id) is State.CANCELLED
    assert get_board(db, "digits", "Linf").rows == ()


def test_publishing_is_all_or_nothing(db: Database, blobs: LocalBlobs, rules: Rules) -> None:
    """The entry cannot be written: then neither is the report, nor does the state change."""
    view = submit(db, blobs, new_submission(blobs), rules)
    finish_check(db, must_claim(db), [check()], shard_points=500)
    work = must_claim(db)
    texts = (
        "title",
        "authors",
        "venue",
        "link",
        "architecture",
        "extra_data",
        "footnote",
        "best_known_source",
        "badge",
    )
    taken = EntryRow(
        dataset="digits",
        threat_model="Linf",
        model_id="Method A",
        findings="[]",
        baseline=False,
        **dict.fromkeys(texts, ""),
    )
    with db.transaction() as session:
        session.add(taken)
    with pytest.raises(IntegrityError):
        finish(db, blobs, work, shard_report(work).to_bytes())
    assert get_submission(db, view.id).state is State.RUNNING
    with db.transaction() as session:
        session.delete(taken)
    assert reduce_run(db, blobs, work.run_id) is State.PUBLISHED


@pytest.mark.parametrize("parameters", [-1, 2**63, 10**400])
def test_an_impossible_number_of_parameters_is_refused(
    db: Database, blobs: LocalBlobs, rules: Rules, parameters: int
) -> None:
    view = submit(db, blobs, new_submission(blobs), rules)
    work = must_claim(db)
    with pytest.raises(EvaluationFailed):
        finish_check(db, work, [check()], parameters=parameters)
    assert get_submission(db, view.id).state is State.CHECKING
    finish_check(db, work, [check()], parameters=2**63 - 1)


def test_progress_that_cannot_be_shown_is_no_progress() -> None:
    for wrong in (
        {"fraction": float("nan")},
        {"points_done": -1},
        {"robust_accuracy_at_most": 2},
        {"attack": "a" * 101},
    ):
        with pytest.raises(ValueError, match="validation error"):
            Progress.model_validate(wrong)
