"""What the tests of the store are made of: submissions, reports, and the shortest way from one to the other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmark.confirmation import expected_verdicts
from benchmark.errors import InvalidCheckpoint, InvalidExamples
from benchmark.report import (
    AttackOutcome,
    Check,
    CheckOutcome,
    EvaluationReport,
    Points,
    Provenance,
    SecondAttack,
)
from benchmark.summing_up import build_report
from benchmark.threat_models import NORMS
from benchmark.verdicts import Verdict, Verdicts
from store.blobs import Blobs
from store.claims import Claim, claim
from store.database import Database
from store.outcomes import finish_check, finish_judge, finish_shard
from store.submission_views import as_columns
from store.submissions import MAX_OPEN, submit
from store.tables import EntryRow, ShardRow, SubmissionRow
from store.views import Badge, NewSubmission, State, SubmissionView
from store.workers import Worker

LEASE_MS = 60_000
CHECKPOINT = b"weights"
EXAMPLES = b"images"


class Rules:
    """The rules of a zoo with two architectures, whose checkpoints all begin with "weights".

    Files of examples are "images", the data set and their number, parted by spaces.
    """

    max_checkpoint_bytes = 1_000

    def architectures(self, dataset: str) -> tuple[str, ...]:
        return ("tiny-cnn", "tiny-mlp") if dataset == "digits" else ()

    def check_file(self, path: Path) -> None:
        if not path.read_bytes().startswith(CHECKPOINT):
            raise InvalidCheckpoint.because("header", found="noise", expected="weights", remedy="save it again")

    def check_fits(self, path: Path, architecture: str) -> None:
        assert architecture in self.architectures("digits")
        self.check_file(path)

    def check_upload(self, path: Path) -> None:
        if not path.read_bytes().startswith(EXAMPLES):
            self.check_file(path)

    def check_examples(self, path: Path, dataset: str, count: int) -> None:
        if path.read_bytes() != examples(dataset, count):
            raise InvalidExamples.because(
                "shape", found="others", expected=f"{count} images", remedy="attack all points"
            )


def examples(dataset: str, count: int) -> bytes:
    """A file of examples that fits so many points of the data set."""
    return b" ".join((EXAMPLES, dataset.encode(), str(count).encode()))


def new_submission(blobs: Blobs, **changes: object) -> NewSubmission:
    fields: dict[str, object] = {
        "name": "Method A",
        "dataset": "digits",
        "threat_model": "Linf",
        "architecture": "tiny-cnn",
        "checkpoint_sha256": blobs.put(CHECKPOINT),
    }
    return NewSubmission.model_validate(fields | changes)


def check(code: str = "zero_gradient", outcome: CheckOutcome = CheckOutcome.PASSED) -> Check:
    return Check(code=code, outcome=outcome, value=0.0, threshold=0.1, message="It was measured.")


def shard_report(
    work: Claim, *, misclassified: int = 10, broken: int = 50, by_square: int = 0, seed: int | None = None
) -> EvaluationReport:
    """A report of a shard: the first points are misclassified, the next broken by APGD, and some after these by Square.

    Where Square breaks any, the number is potentially unreliable, and somebody looks closer.
    """
    count = len(work.indices)
    left = count - misclassified - broken
    by = ["clean"] * misclassified + ["apgd-ce"] * broken + ["square"] * by_square + [None] * (left - by_square)
    points = Points(
        index=work.indices,
        label=tuple(i % 10 for i in work.indices),
        robust=tuple(name is None for name in by),
        broken_by=tuple(by),
        step=tuple(3 if name == "apgd-ce" else None for name in by),
        distance=tuple({"clean": 0.0, "apgd-ce": 0.2, "square": 0.2}.get(name) if name else None for name in by),
    )
    attacks = [_attack("apgd-ce", count - misclassified, broken), _attack("square", left, by_square)]
    return build_report(
        norm=work.norm,
        epsilon=work.epsilon,
        dataset=work.submission.dataset,
        protocol=work.protocol,
        attacks=attacks,
        checks=[],
        provenance=Provenance(
            checkpoint_sha256=work.checkpoint_sha256,
            seed=work.seed if seed is None else seed,
            slot_width=64,
            threads=1,
            layout="contiguous",
            precision="float32",
            device="cpu",
            hardware="test",
            versions={"python": "3"},
            seconds=1.5,
        ),
        points=points,
        examples_sha256="e" * 64,
    )


def with_second(report: EvaluationReport, *, attacked: int = 8, broken: int = 1) -> EvaluationReport:
    """A report with a second attack on the first points that are robust, which broke the first of these."""
    robust = [index for index, left in zip(report.points.index, report.points.robust, strict=True) if left]
    verdicts = [number < broken for number in range(attacked)]
    second = SecondAttack(
        protocol="spsa(samples=16,steps=20)-1",
        outcome=_attack("spsa", attacked, broken),
        index=tuple(robust[:attacked]),
        broken=tuple(verdicts),
        distance=tuple(0.2 if one else None for one in verdicts),
        examples_sha256="f" * 64,
    )
    return report.model_copy(update={"second_attack": second})


def _attack(name: str, attacked: int, broken: int) -> AttackOutcome:
    return AttackOutcome(
        name=name,
        parameters={"steps": 100},
        seed=0,
        attacked=attacked,
        broken=broken,
        over_budget=0,
        robust_accuracy_after=0.0,
        forward_passes=attacked,
        backward_passes=attacked,
        seconds=0.5,
    )


def verdicts_on(blobs: Blobs, work: Claim) -> tuple[list[bytes], list[tuple[int, ...]]]:
    """What an honest judge finds: what the reports say; and the points that each file is about."""
    found, indices = [], []
    for examples in work.examples:
        assert examples.report_sha256 is not None
        report = EvaluationReport.model_validate_json(blobs.read(examples.report_sha256))
        for index, broken in expected_verdicts(report):
            found.append(verdicts_of(work, index, broken).to_bytes())
            indices.append(index)
    return found, indices


def verdicts_of(work: Claim, index: Sequence[int], broken: Sequence[bool]) -> Verdicts:
    """Verdicts by which examples hold exactly where they break their points."""
    return Verdicts(
        norm=next(norm for norm in NORMS if norm == work.norm),
        epsilon=work.epsilon,
        dataset=work.submission.dataset,
        checkpoint_sha256=work.checkpoint_sha256,
        examples_sha256="e" * 64,
        index=tuple(index),
        verdict=tuple(Verdict.HOLDS if one else Verdict.CLASSIFIED_CORRECTLY for one in broken),
        distance=tuple(0.1 if one else 0.0 for one in broken),
        slot_width=64,
        threads=1,
        device="cpu",
        hardware="test",
        versions={"python": "3"},
    )


def judge(db: Database, blobs: Blobs, worker: str = "w") -> State:
    """Judge the examples of the run whose shards are done, as an honest judge does."""
    work = must_claim(db, worker)
    assert work.kind == "judge"
    return finish_judge(db, blobs, work, *verdicts_on(blobs, work))


def finish(db: Database, blobs: Blobs, work: Claim, report: bytes, *, x_adv_sha256: str | None = None) -> State:
    """Finish the last shard of a run, and judge its examples."""
    state = finish_shard(db, blobs, work, report, x_adv_sha256=x_adv_sha256)
    assert state in {State.RUNNING, State.PUBLISHED}
    return judge(db, blobs)


def a_worker(name: str = "w", **changes: object) -> Worker:
    return Worker.model_validate({"name": name, "datasets": ("digits",)} | changes)


def must_claim(db: Database, worker: str = "w", lease_ms: int = LEASE_MS) -> Claim:
    work = claim(db, a_worker(worker), lease_ms)
    assert work is not None
    return work


def running(db: Database, blobs: Blobs, name: str = "Method A", *, shard_points: int = 512) -> SubmissionView:
    """Submit, and pass the check: the shards are queued."""
    view = submit(db, blobs, new_submission(blobs, name=name), Rules())
    finish_check(db, must_claim(db), [check()], parameters=1_234, shard_points=shard_points)
    return view


def published(
    db: Database, blobs: Blobs, name: str = "Method A", *, misclassified: int = 10, broken: int = 50
) -> SubmissionView:
    """Submit, and evaluate to the end in one shard."""
    view = running(db, blobs, name)
    work = must_claim(db)
    report = shard_report(work, misclassified=misclassified, broken=broken)
    finish(db, blobs, work, report.to_bytes())
    return view


def expire(db: Database, work: Claim) -> None:
    """Let the lease of claimed work run out, as if its worker had been paused for long."""
    with db.transaction() as session:
        session.get_one(ShardRow, work.shard_id).lease_until = 1


def fill_queue(db: Database) -> None:
    """Let as many submissions wait as the service takes on."""
    with db.transaction() as session:
        for number in range(MAX_OPEN):
            fields = NewSubmission(
                name=f"Waiting {number}",
                dataset="digits",
                threat_model="Linf",
                architecture="tiny-cnn",
                checkpoint_sha256="0" * 64,
            )
            row = SubmissionRow(
                id=f"{number:020x}",
                **as_columns(fields),
                baseline=False,
                submitter="",
                state=State.QUEUED,
                reason="",
                created_ms=1,
                updated_ms=1,
            )
            session.add(row)


def board_entry(
    model_id: str,
    best: float | None,
    standard: float | None = 0.9,
    published_ms: int | None = None,
    *,
    title: str | None = None,
    robust: float | None = 0.99,
) -> EntryRow:
    """A row of digits/L2 as somebody reported it."""
    texts = ("authors", "venue", "link", "footnote", "best_known_source")
    return EntryRow(
        dataset="digits",
        threat_model="L2",
        model_id=model_id,
        badge=Badge.REPORTED,
        title=f"About {model_id}" if title is None else title,
        architecture="tiny_cnn",
        extra_data="unknown",
        findings="[]",
        baseline=False,
        standard_accuracy=standard,
        robust_accuracy=robust,
        best_known_robust_accuracy=best,
        published_ms=published_ms,
        **dict.fromkeys(texts, ""),
    )


def fill_board(db: Database, entries: int) -> None:
    """Put entries on digits/L2, the best first by number."""
    with db.transaction() as session:
        session.add_all(
            [
                board_entry(f"Method {i:05d}", 0.9 - 0.8 * i / entries, 0.99 - i * 7919 % 1000 / 2000)
                for i in range(entries)
            ]
        )
