"""Closer looks at published entries in doubt: stronger attacks on points that the evaluation has left.

A closer look has a budget of its own and the least priority, so that a model that asks for one is no denial of service.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from benchmark.confirmation import expected_verdicts, unconfirmed
from benchmark.merging import merge_reports
from benchmark.report import EvaluationReport, canonical_json
from benchmark.threat_models import official_board
from benchmark.verdicts import Verdicts
from store.best_known import Contribution, broken_in, contribute
from store.blobs import Blobs
from store.database import Database
from store.queue import FOLLOW_UP, SHARD_POINTS, blocks, queue_work
from store.reports import store_report
from store.runs import add_run
from store.seeds import key_of_run
from store.sources import most_robust_others
from store.tables import EntryRow, RunRow, SubmissionRow
from store.views import Purpose

FOLLOW_UP_PROTOCOL = "follow-up-1"
"""Label of the protocol of closer looks."""
FOLLOW_UP_PASSES = 170_000
"""Forward passes, a backward pass counted twice, that it takes at most on a point that nothing breaks."""
LEAST_POINTS = 16


def queue_follow_up(session: Session, submission: SubmissionRow, run: RunRow, report: EvaluationReport) -> None:
    """Queue a closer look at what the evaluation of an entry has left, as far as the board's budget goes.

    Args:
        session: the transaction that publishes the entry.
        submission: whose.
        run: its evaluation.
        report: what that found.
    """
    protocol = FOLLOW_UP_PROTOCOL
    key = key_of_run(
        session,
        purpose=Purpose.FOLLOW_UP,
        protocol=protocol,
        dataset=submission.dataset,
        threat_model=submission.threat_model,
        checkpoint_sha256=submission.checkpoint_sha256,
    )
    left = [index for index, robust in zip(report.points.index, report.points.robust, strict=True) if robust]
    indices = sorted(_by_lot(left, key)[: affordable_points(report, submission)])
    if not indices:
        return
    closer = add_run(
        session,
        submission.id,
        Purpose.FOLLOW_UP,
        protocol,
        key=key,
        norm=run.norm,
        epsilon=run.epsilon,
        points=len(indices),
        indices=indices,
        sources=most_robust_others(session, submission),
        parameters=run.parameters,
        priority=FOLLOW_UP,
        needs_cuda=run.needs_cuda,
    )
    queue_work(session, closer.id, "shard", blocks(closer.points, SHARD_POINTS))


def affordable_points(report: EvaluationReport, submission: SubmissionRow) -> int:
    """Return how many points a closer look may take, by what a pass of the evaluation has cost."""
    passes = sum(attack.forward_passes + 2 * attack.backward_passes for attack in report.attacks)
    seconds = sum(attack.seconds for attack in report.attacks)
    budget_s = official_board(submission.dataset, submission.threat_model).follow_up_s
    if not passes or not seconds:
        return LEAST_POINTS
    return max(LEAST_POINTS, int(budget_s / (FOLLOW_UP_PASSES * seconds / passes)))


def conclude_look(
    db: Database, blobs: Blobs, run_id: int, reports: Sequence[EvaluationReport], verdicts: Sequence[Verdicts]
) -> None:
    """Count what a closer look found towards the entry's best known robust accuracy, and keep its report.

    Args:
        db: the database.
        blobs: where points lie.
        run_id: the look's run.
        reports: of its shards, in order.
        verdicts: on the files of their examples, by another process.
    Raises:
        ValueError: they do not belong together.
    """
    report = merge_reports(reports, [check for report in reports for check in report.checks])
    doubtful = unconfirmed([file for part in reports for file in expected_verdicts(part)], verdicts)
    blobs.put(report.points.to_bytes())
    broken = {index: by for index, by in broken_in(report, report.protocol).items() if index not in doubtful}

    def keep(session: Session, _newly_broken: int) -> bool:
        run = session.get_one(RunRow, run_id, with_for_update=True, populate_existing=True)
        if run.concluded:
            return False
        run.concluded = True
        run.checks = canonical_json([check.model_dump(mode="json") for check in report.checks]).decode()
        store_report(session, run, report)
        return True

    with db.snapshot() as session:
        run = session.get_one(RunRow, run_id)
        entry_id = session.scalars(select(EntryRow.id).where(EntryRow.submission_id == run.submission_id)).one()
    contribute(db, blobs, entry_id, Contribution(report.protocol, broken), keep)


def _by_lot(indices: Sequence[int], key: str) -> list[int]:
    """Put points into an order that nobody can know before the key is told."""
    return sorted(indices, key=lambda index: hashlib.sha256(f"{key}/{index}".encode()).digest())
