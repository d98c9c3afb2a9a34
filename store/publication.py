"""From finished shards to a row of the leaderboard."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import TypeAdapter
from sqlalchemy import select
from sqlalchemy.orm import Session

from benchmark.confirmation import confirmation_check, expected_verdicts, unconfirmed
from benchmark.errors import EvaluationFailed, NotFound
from benchmark.merging import merge_reports, worst_case, worst_of
from benchmark.report import Check, CheckOutcome, EvaluationReport, Evidence, Points, canonical_json
from benchmark.threat_models import CORRUPTIONS
from benchmark.verdicts import Verdicts
from store.again import OWN_SOURCE, replace_numbers
from store.analyses import queue_analyses
from store.best_known import broken_by_second, remember
from store.blobs import Blobs
from store.claims import fail_run
from store.corruption_errors import score_errors
from store.database import Database, database_now_ms
from store.entry_values import in_doubt, set_names, set_numbers
from store.external_claims import conclude_external
from store.looks import conclude_look, queue_follow_up
from store.queue import queue_work
from store.reports import store_report
from store.states import lock_submission, move, submission_not_found
from store.tables import EntryRow, ReportRow, RunRow, ShardRow, SubmissionRow
from store.unverified import make_way
from store.views import Approval, Badge, Purpose, State

UNANNOUNCED = "the unannounced attack"

VERDICTS: TypeAdapter[tuple[Verdicts, ...]] = TypeAdapter(tuple[Verdicts, ...])
"""What a judge leaves: the verdicts on each file of examples."""


@dataclass(frozen=True)
class _Finished:
    """All that the work on a run has left.

    Args:
        checks: the check run's.
        policy: version of the restrictions that they are of.
        evidence: the check run's.
        reports: blobs of the shards' reports, in order.
        verdicts: blob of the verdicts on all examples; None where there are none yet.
        attacked: whether there are examples to be judged.
        architecture: what the submission says.
        zoo_id: likewise.
    """

    checks: tuple[Check, ...]
    policy: int | None
    evidence: tuple[Evidence, ...]
    reports: tuple[str, ...]
    verdicts: str | None
    attacked: bool
    architecture: str
    zoo_id: str | None


@dataclass(frozen=True)
class _Merged:
    """What the shards come to together.

    Args:
        report: over all points.
        worst: the worst case, point by point, with what the second attack broke.
    """

    report: EvaluationReport
    worst: Points


def reduce_run(db: Database, blobs: Blobs, run_id: int) -> State:
    """Do what is to be done next for a run whose work is done; harmless to call at any time, by anybody.

    Once all shards are done, their examples are judged again by a process that has nothing else; after that the shards
    are merged, and an entry is published, or what a closer look or others have found is counted towards one.

    Returns:
        The submission's state afterwards.
    """
    with db.snapshot() as session:
        run = session.get_one(RunRow, run_id)
        submission = session.get_one(SubmissionRow, run.submission_id)
        finished = _finished(session, run, submission) if _awaited(run, submission) else None
    if finished is None:
        return State(submission.state)
    if finished.verdicts is None and finished.attacked:
        return _have_judged(db, run_id)
    try:
        if run.purpose == Purpose.RANKING:
            return _publish_run(db, blobs, run_id, _merge(blobs, finished))
        if run.purpose == Purpose.AGAIN:
            merged = _merge(blobs, finished)
            replace_numbers(db, blobs, run_id, merged.report, merged.worst)
            return State(submission.state)
        verdicts = _verdicts(blobs, finished)
        if run.purpose == Purpose.FOLLOW_UP:
            conclude_look(db, blobs, run_id, _reports(blobs, finished), verdicts)
        elif run.purpose == Purpose.EXTERNAL:
            (own,) = verdicts
            conclude_external(db, blobs, run_id, own)
        return State(submission.state)
    except (ValueError, NotFound) as error:
        # Without this the sweeper would try the same shards again for ever.
        return _give_up(db, run_id, f"the shards could not be merged: {error}")


def _awaited(run: RunRow, submission: SubmissionRow) -> bool:
    """Tell whether something is still to come of the run."""
    if run.purpose == Purpose.RANKING:
        return submission.state == State.RUNNING  # not where it is evaluated, and waits for a maintainer
    return submission.state == State.PUBLISHED and not run.concluded


def _give_up(db: Database, run_id: int, reason: str) -> State:
    with db.transaction() as session:
        run = session.get_one(RunRow, run_id)
        submission = lock_submission(session, run.submission_id)
        session.refresh(run)
        if _awaited(run, submission):
            fail_run(session, run_id, reason[:1_000], "service")
        return State(submission.state)


def _finished(session: Session, run: RunRow, submission: SubmissionRow) -> _Finished | None:
    """Return what the work on a run has left; None while there is work left to do."""
    work = session.scalars(select(ShardRow).where(ShardRow.run_id == run.id).order_by(ShardRow.first)).all()
    shards = [piece for piece in work if piece.kind == "shard"]
    judges = [piece for piece in work if piece.kind == "judge"]
    awaited = [*shards, *judges]
    if not awaited or any(piece.state != "done" or not piece.report_sha256 for piece in awaited):
        return None
    return _Finished(
        checks=tuple(Check.model_validate(check) for check in json.loads(run.checks)),
        policy=run.policy,
        evidence=tuple(Evidence.model_validate(one) for one in json.loads(run.evidence)),
        reports=tuple(shard.report_sha256 for shard in shards if shard.report_sha256),
        verdicts=judges[0].report_sha256 if judges else None,
        attacked=run.norm != CORRUPTIONS,
        architecture=submission.architecture,
        zoo_id=submission.zoo_id,
    )


def _have_judged(db: Database, run_id: int) -> State:
    """Queue the judging of all examples of a run, unless somebody else has done so."""
    with db.transaction() as session:
        run = session.get_one(RunRow, run_id)
        submission = lock_submission(session, run.submission_id)
        session.refresh(run)
        judging = select(ShardRow.id).where(ShardRow.run_id == run_id, ShardRow.kind == "judge")
        if _awaited(run, submission) and session.scalar(judging) is None:
            queue_work(session, run_id, "judge", [(0, run.points)])
        return State(submission.state)


def _reports(blobs: Blobs, finished: _Finished) -> list[EvaluationReport]:
    return [EvaluationReport.model_validate_json(blobs.read(sha256)) for sha256 in finished.reports]


def _verdicts(blobs: Blobs, finished: _Finished) -> tuple[Verdicts, ...]:
    return VERDICTS.validate_json(blobs.read(finished.verdicts)) if finished.verdicts else ()


def _merge(blobs: Blobs, finished: _Finished) -> _Merged:
    reports = _reports(blobs, finished)
    expected = [file for report in reports for file in expected_verdicts(report)]
    doubtful = unconfirmed(expected, _verdicts(blobs, finished))
    points = sum(report.n_points for report in reports)
    of_shards = (check for report in reports for check in report.checks)
    again = (confirmation_check(points, len(doubtful)),) if finished.attacked else ()
    checks = worst_of([*finished.checks, *of_shards, *again])
    report = merge_reports(reports, checks, policy=finished.policy, evidence=finished.evidence)
    # Said by the submission, never by the process that ran the untrusted model.
    names = {"architecture": finished.architecture, "zoo_id": finished.zoo_id}
    report = report.model_copy(update={"provenance": report.provenance.model_copy(update=names)})
    second = {index: by for index, by in broken_by_second(report).items() if index not in doubtful}
    return _Merged(report, worst_case(report.points, second))


def _publish_run(db: Database, blobs: Blobs, run_id: int, merged: _Merged) -> State:
    report = merged.report
    blobs.put(report.points.to_bytes())
    worst = blobs.put(merged.worst.to_bytes()) if merged.worst != report.points else None
    with db.transaction() as session:
        run = session.get_one(RunRow, run_id)
        submission = lock_submission(session, run.submission_id)
        session.refresh(run)
        if not _awaited(run, submission):
            return State(submission.state)  # somebody else was faster, or it was cancelled meanwhile
        run.checks = canonical_json([check.model_dump(mode="json") for check in report.checks]).decode()
        run.concluded = True
        rejected = [check for check in report.checks if check.outcome is CheckOutcome.REJECTED]
        if rejected:
            move(session, submission.id, State.REJECTED, reason=rejected[0].code, fault="model")
            return State.REJECTED
        move(session, submission.id, State.EVALUATED)
        stored = store_report(session, run, report)
        if submission.approval == Approval.PENDING:
            return State.EVALUATED  # until `publish_evaluated`
        _publish(session, submission, run, merged, stored, worst)
        return State.PUBLISHED


def publish_evaluated(
    db: Database,
    blobs: Blobs,
    submission_id: str,
    require: Callable[[SubmissionRow], None],
    agree: Callable[[Session, SubmissionRow], None],
) -> None:
    """Publish what is evaluated and waits for somebody's agreement, in the transaction in which that is given.

    Args:
        db: the database.
        blobs: where the reports of the shards are.
        submission_id: which one.
        require: raises where that may not be; asked before the reports are read, and again in the transaction.
        agree: writes down that it is so.
    Raises:
        NotFound: there is no such submission.
        EvaluationFailed: what its shards have left is gone or damaged.
    """
    ranking = select(RunRow).where(RunRow.submission_id == submission_id, RunRow.purpose == Purpose.RANKING)
    with db.snapshot() as session:
        submission = session.get(SubmissionRow, submission_id)
        if submission is None:
            raise submission_not_found(submission_id)
        require(submission)
        finished = _finished(session, session.scalars(ranking).one(), submission)
    try:
        if finished is None:
            raise ValueError("there are none")
        merged = _merge(blobs, finished)
    except (ValueError, NotFound) as error:
        raise EvaluationFailed(f"The reports of its shards cannot be read any more: {error}") from error
    worst = blobs.put(merged.worst.to_bytes()) if merged.worst != merged.report.points else None
    with db.transaction() as session:
        submission = lock_submission(session, submission_id)
        require(submission)
        agree(session, submission)
        run = session.scalars(ranking).one()
        stored = session.scalars(select(ReportRow).where(ReportRow.run_id == run.id)).one()
        _publish(session, submission, run, merged, stored, worst)


def _publish(
    session: Session, submission: SubmissionRow, run: RunRow, merged: _Merged, stored: ReportRow, worst: str | None
) -> None:
    """Put what is evaluated on its board, and say that it is published."""
    report, attacked = merged.report, merged.report.corruptions is None
    make_way(session, submission)
    own = f"{OWN_SOURCE}, {run.protocol}"
    newly_broken = sum(report.points.robust) - sum(merged.worst.robust)
    entry = EntryRow(
        dataset=submission.dataset,
        threat_model=submission.threat_model,
        model_id=submission.name,
        badge=Badge.EVALUATED,
        architecture=submission.architecture,
        extra_data=submission.extra_data,
        footnote="",
        best_known_robust_accuracy=(sum(merged.worst.robust) / report.n_points if attacked else report.robust_accuracy),
        best_known_source=f"{own} + {UNANNOUNCED}" if newly_broken else own,
        best_known_sha256=worst,
        claimed_robust_accuracy=submission.claimed_robust_accuracy,
        zoo_id=submission.zoo_id,
        baseline=submission.baseline,
        submission_id=submission.id,
        published_ms=database_now_ms(session),
    )
    set_names(entry, submission)
    set_numbers(entry, run, report, stored)
    session.add(entry)
    session.flush()
    remember(session, entry, own, report.robust_accuracy)
    if newly_broken:
        remember(session, entry, UNANNOUNCED, entry.best_known_robust_accuracy, newly_broken)
    if not attacked:
        score_errors(session, entry)
    elif in_doubt(report):
        queue_follow_up(session, submission, run, report)
    if attacked and submission.analyse:
        queue_analyses(session, submission)
    move(session, submission.id, State.PUBLISHED)
