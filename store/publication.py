"""From finished shards to a row of the leaderboard."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from benchmark.errors import NotFound
from benchmark.report import Check, CheckOutcome, EvaluationReport, canonical_json, merge_reports, worst_of
from store.blobs import Blobs
from store.claims import fail_submission
from store.database import Database, database_now_ms
from store.states import move
from store.tables import EntryHistoryRow, EntryRow, ReportRow, RunRow, ShardRow, SubmissionRow
from store.views import Badge, State

OWN_SOURCE = "Evaluated here"


@dataclass(frozen=True)
class _Finished:
    checks: tuple[Check, ...]
    reports: tuple[str, ...]
    architecture: str
    zoo_id: str | None


def reduce_run(db: Database, blobs: Blobs, run_id: int) -> State:
    """Merge the shards of a run and publish the entry, once all are done; harmless to call at any time, by anybody.

    Returns:
        The submission's state afterwards.
    """
    with db.snapshot() as session:
        submission = _submission_of(session, run_id)
        finished = _finished(session, run_id, submission) if submission.state == State.RUNNING else None
        if finished is None:
            return State(submission.state)
    try:
        report = _merged(blobs, finished)
    except (ValueError, NotFound) as error:
        # Without this the sweeper would try the same shards again for ever.
        with db.transaction() as session:
            submission = _submission_of(session, run_id)
            if submission.state == State.RUNNING:
                fail_submission(session, submission.id, f"the shards could not be merged: {error}", "service")
            return State(submission.state)
    blobs.put(report.points.to_bytes())
    with db.transaction() as session:
        submission = _submission_of(session, run_id)
        if submission.state != State.RUNNING:
            return State(submission.state)  # somebody else was faster, or it was cancelled meanwhile
        run = session.get_one(RunRow, run_id)
        run.checks = canonical_json([check.model_dump(mode="json") for check in report.checks]).decode()
        rejected = [check for check in report.checks if check.outcome is CheckOutcome.REJECTED]
        if rejected:
            move(session, submission.id, State.REJECTED, reason=rejected[0].code, fault="model")
            return State.REJECTED
        move(session, submission.id, State.EVALUATED)
        _publish(session, submission, run, report)
        move(session, submission.id, State.PUBLISHED)
        return State.PUBLISHED


def _merged(blobs: Blobs, finished: _Finished) -> EvaluationReport:
    reports = [EvaluationReport.model_validate_json(blobs.read(sha256)) for sha256 in finished.reports]
    checks = worst_of([*finished.checks, *(check for report in reports for check in report.checks)])
    report = merge_reports(reports, checks)
    # Said by the submission, never by the process that ran the untrusted model.
    names = {"architecture": finished.architecture, "zoo_id": finished.zoo_id}
    return report.model_copy(update={"provenance": report.provenance.model_copy(update=names)})


def _submission_of(session: Session, run_id: int) -> SubmissionRow:
    return session.get_one(SubmissionRow, session.get_one(RunRow, run_id).submission_id)


def _finished(session: Session, run_id: int, submission: SubmissionRow) -> _Finished | None:
    shards = session.scalars(
        select(ShardRow).where(ShardRow.run_id == run_id, ShardRow.kind == "shard").order_by(ShardRow.first)
    ).all()
    reports = tuple(shard.report_sha256 for shard in shards if shard.state == "done" and shard.report_sha256)
    if not shards or len(reports) < len(shards):
        return None
    stored = json.loads(session.get_one(RunRow, run_id).checks)
    checks = tuple(Check.model_validate(check) for check in stored)
    return _Finished(checks, reports, submission.architecture, submission.zoo_id)


def _publish(session: Session, submission: SubmissionRow, run: RunRow, report: EvaluationReport) -> None:
    now = database_now_ms(session)
    summary = report.summary_bytes()
    stored = ReportRow(
        run_id=run.id,
        summary=summary,
        summary_sha256=hashlib.sha256(summary).hexdigest(),
        points_sha256=hashlib.sha256(report.points.to_bytes()).hexdigest(),
        created_ms=now,
    )
    session.add(stored)
    session.flush()
    outcomes = {check.code: check.outcome for check in report.checks}
    entry = EntryRow(
        dataset=submission.dataset,
        threat_model=submission.threat_model,
        model_id=submission.name,
        badge=Badge.EVALUATED,
        title=submission.title or submission.name,
        authors=submission.authors,
        venue=submission.venue,
        link=submission.paper_url,
        architecture=submission.architecture,
        extra_data=submission.extra_data,
        epsilon=run.epsilon,
        footnote="",
        standard_accuracy=report.standard_accuracy,
        robust_accuracy=report.robust_accuracy,
        best_known_robust_accuracy=report.robust_accuracy,
        best_known_source=f"{OWN_SOURCE}, {run.protocol}",
        claimed_robust_accuracy=submission.claimed_robust_accuracy,
        standard_low=report.standard_interval.low,
        standard_high=report.standard_interval.high,
        robust_low=report.robust_interval.low,
        robust_high=report.robust_interval.high,
        potentially_unreliable=_unreliable(outcomes.get("square_helps", CheckOutcome.NOT_ASSESSED)),
        findings=canonical_json(
            [code for code, outcome in outcomes.items() if outcome is CheckOutcome.FLAGGED]
        ).decode(),
        parameters=run.parameters,
        zoo_id=submission.zoo_id,
        baseline=submission.baseline,
        protocol=run.protocol,
        submission_id=submission.id,
        report_id=stored.id,
        published_ms=now,
    )
    session.add(entry)
    session.flush()
    session.add(
        EntryHistoryRow(
            entry_id=entry.id,
            source=entry.best_known_source,
            standard_accuracy=report.standard_accuracy,
            robust_accuracy=report.robust_accuracy,
            recorded_ms=now,
        )
    )
    session.flush()


def _unreliable(outcome: CheckOutcome) -> bool | None:
    return None if outcome is CheckOutcome.NOT_ASSESSED else outcome is CheckOutcome.FLAGGED
