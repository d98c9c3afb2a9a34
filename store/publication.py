"""From finished shards to a row of the leaderboard."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from benchmark.errors import NotFound
from benchmark.merging import merge_reports, worst_of
from benchmark.report import Check, CheckOutcome, EvaluationReport, canonical_json
from store.blobs import Blobs
from store.claims import fail_run
from store.database import Database, database_now_ms
from store.queue import FOLLOW_UP, SHARD_POINTS, blocks, queue_work
from store.states import lock_submission, move
from store.tables import EntryHistoryRow, EntryRow, ReportRow, RunRow, ShardRow, SubmissionRow
from store.views import Badge, Purpose, State

OWN_SOURCE = "Evaluated here"
FOLLOW_UP_PROTOCOL = "plus-1"
"""Label of the protocol that looks closer: more attacks, and restarts."""
MAX_FOLLOW_UPS = 10
"""Follow-ups that may wait at once: models that ask for a closer look must not fill the queue."""


@dataclass(frozen=True)
class _Finished:
    checks: tuple[Check, ...]
    reports: tuple[str, ...]
    architecture: str
    zoo_id: str | None


def reduce_run(db: Database, blobs: Blobs, run_id: int) -> State:
    """Merge the shards of a run and publish the result, once all are done; harmless to call at any time, by anybody.

    Returns:
        The submission's state afterwards.
    """
    with db.snapshot() as session:
        run = session.get_one(RunRow, run_id)
        submission = session.get_one(SubmissionRow, run.submission_id)
        finished = _finished(session, run, submission) if _awaited(session, run, submission) else None
        if finished is None:
            return State(submission.state)
    try:
        report = _merged(blobs, finished)
    except (ValueError, NotFound) as error:
        # Without this the sweeper would try the same shards again for ever.
        with db.transaction() as session:
            submission = lock_submission(session, run.submission_id)
            if _awaited(session, run, submission):
                _give_up(session, run_id, f"the shards could not be merged: {error}")
            return State(submission.state)
    blobs.put(report.points.to_bytes())
    with db.transaction() as session:
        submission = lock_submission(session, run.submission_id)
        run = session.get_one(RunRow, run_id)
        if not _awaited(session, run, submission):
            return State(submission.state)  # somebody else was faster, or it was cancelled meanwhile
        run.checks = canonical_json([check.model_dump(mode="json") for check in report.checks]).decode()
        if run.purpose == Purpose.FOLLOW_UP:
            _publish_follow_up(session, submission, run, report)
            return State(submission.state)
        rejected = [check for check in report.checks if check.outcome is CheckOutcome.REJECTED]
        if rejected:
            move(session, submission.id, State.REJECTED, reason=rejected[0].code, fault="model")
            return State.REJECTED
        move(session, submission.id, State.EVALUATED)
        _publish(session, submission, run, report)
        move(session, submission.id, State.PUBLISHED)
        return State.PUBLISHED


def _awaited(session: Session, run: RunRow, submission: SubmissionRow) -> bool:
    """Tell whether the run's report is still to be made."""
    expected = State.PUBLISHED if run.purpose == Purpose.FOLLOW_UP else State.RUNNING
    reported = session.scalar(select(ReportRow.id).where(ReportRow.run_id == run.id)) is not None
    return submission.state == expected and not reported


def _give_up(session: Session, run_id: int, reason: str) -> None:
    """Give up a run whose shards are worth nothing; those of a follow-up must no longer count as done."""
    if fail_run(session, run_id, reason, "service") is None:
        session.execute(update(ShardRow).where(ShardRow.run_id == run_id).values(state="failed"))


def _merged(blobs: Blobs, finished: _Finished) -> EvaluationReport:
    reports = [EvaluationReport.model_validate_json(blobs.read(sha256)) for sha256 in finished.reports]
    checks = worst_of([*finished.checks, *(check for report in reports for check in report.checks)])
    report = merge_reports(reports, checks)
    # Said by the submission, never by the process that ran the untrusted model.
    names = {"architecture": finished.architecture, "zoo_id": finished.zoo_id}
    return report.model_copy(update={"provenance": report.provenance.model_copy(update=names)})


def _finished(session: Session, run: RunRow, submission: SubmissionRow) -> _Finished | None:
    shards = session.scalars(
        select(ShardRow).where(ShardRow.run_id == run.id, ShardRow.kind == "shard").order_by(ShardRow.first)
    ).all()
    reports = tuple(shard.report_sha256 for shard in shards if shard.state == "done" and shard.report_sha256)
    if not shards or len(reports) < len(shards):
        return None
    checks = tuple(Check.model_validate(check) for check in json.loads(run.checks))
    return _Finished(checks, reports, submission.architecture, submission.zoo_id)


def _store_report(session: Session, run: RunRow, report: EvaluationReport) -> ReportRow:
    summary = report.summary_bytes()
    stored = ReportRow(
        run_id=run.id,
        summary=summary,
        summary_sha256=hashlib.sha256(summary).hexdigest(),
        points_sha256=hashlib.sha256(report.points.to_bytes()).hexdigest(),
        created_ms=database_now_ms(session),
    )
    session.add(stored)
    session.flush()
    return stored


def _remember(session: Session, entry: EntryRow, source: str, report: EvaluationReport) -> None:
    session.add(
        EntryHistoryRow(
            entry_id=entry.id,
            source=source,
            standard_accuracy=report.standard_accuracy,
            robust_accuracy=report.robust_accuracy,
            recorded_ms=database_now_ms(session),
        )
    )
    session.flush()


def _publish(session: Session, submission: SubmissionRow, run: RunRow, report: EvaluationReport) -> None:
    now = database_now_ms(session)
    stored = _store_report(session, run, report)
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
    _remember(session, entry, entry.best_known_source, report)
    if entry.potentially_unreliable:
        _follow_up(session, run)


def _follow_up(session: Session, run: RunRow) -> None:
    """Queue a closer look at an entry that may be less robust than measured, unless many of them wait already."""
    waiting = session.scalar(
        select(func.count(func.distinct(RunRow.id)))
        .join(ShardRow, ShardRow.run_id == RunRow.id)
        .where(RunRow.purpose == Purpose.FOLLOW_UP, ShardRow.state.in_(("queued", "running")))
    )
    if (waiting or 0) >= MAX_FOLLOW_UPS:
        return
    closer = RunRow(
        submission_id=run.submission_id,
        protocol=FOLLOW_UP_PROTOCOL,
        seed=run.seed,
        norm=run.norm,
        epsilon=run.epsilon,
        points=run.points,
        parameters=run.parameters,
        checks="[]",
        purpose=Purpose.FOLLOW_UP,
        priority=FOLLOW_UP,
        needs_cuda=run.needs_cuda,
        created_ms=database_now_ms(session),
    )
    session.add(closer)
    session.flush()
    queue_work(session, closer.id, "shard", blocks(closer.points, SHARD_POINTS))


def _publish_follow_up(session: Session, submission: SubmissionRow, run: RunRow, report: EvaluationReport) -> None:
    """Add what a closer look found to the entry: it can only lower the best known robust accuracy."""
    _store_report(session, run, report)
    entry = session.scalars(select(EntryRow).where(EntryRow.submission_id == submission.id).with_for_update()).one()
    source = f"{OWN_SOURCE}, {run.protocol}"
    _remember(session, entry, source, report)
    known = entry.best_known_robust_accuracy
    if known is None or report.robust_accuracy < known:
        entry.best_known_robust_accuracy, entry.best_known_source = report.robust_accuracy, source
    session.flush()


def _unreliable(outcome: CheckOutcome) -> bool | None:
    return None if outcome is CheckOutcome.NOT_ASSESSED else outcome is CheckOutcome.FLAGGED
