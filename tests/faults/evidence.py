"""What must be equal, byte for byte, whatever happened on the way to it; and what must never be in the database."""

from __future__ import annotations

import hashlib
import itertools
import json
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from benchmark.report import TIMED_CHECKS, EvaluationReport, Points, canonical_json
from store.blobs import Blobs
from store.claims import MAX_ATTEMPTS
from store.database import Database
from store.publication import UNANNOUNCED
from store.states import LEGAL
from store.tables import EntryHistoryRow, EntryRow, ReportRow, RunRow, ShardRow, SubmissionRow, TransitionRow
from store.views import Purpose, State

FINAL = frozenset({State.REJECTED, State.PUBLISHED, State.WITHDRAWN, State.FAILED, State.CANCELLED})
WAY = ("received", "checking", "queued", "running", "evaluated", "published")
"""The states of a submission that became a row."""


@dataclass(frozen=True)
class Evidence:
    """All that a submission has come to.

    Args:
        reports: the report of each run, without its times.
        examples: hashes of the files of adversarial examples, of each run in the order of its shards.
    """

    reports: tuple[bytes, ...]
    examples: tuple[tuple[str | None, ...], ...]


def with_work_left(session: Session) -> set[str]:
    """Return the submissions that have work queued or running, or a closer look whose shards are not merged yet.

    A worker that dies between the last shard and the report leaves the merging to the sweeper.
    """
    working = select(RunRow.submission_id).join(ShardRow).where(ShardRow.state.in_(("queued", "running")))
    reported = select(ReportRow.id).where(ReportRow.run_id == RunRow.id).exists()
    given_up = select(ShardRow.id).where(ShardRow.run_id == RunRow.id, ShardRow.state != "done").exists()
    unmerged = select(RunRow.submission_id).where(RunRow.purpose == Purpose.FOLLOW_UP, ~reported, ~given_up)
    return {*session.scalars(working), *session.scalars(unmerged)}


def evidence(db: Database, blobs: Blobs, submission_id: str) -> Evidence:
    """Return what was stored of a submission's runs."""
    with db.snapshot() as session:
        runs = session.scalars(select(RunRow).where(RunRow.submission_id == submission_id).order_by(RunRow.id)).all()
        reports = [session.scalars(select(ReportRow).where(ReportRow.run_id == run.id)).one_or_none() for run in runs]
        summaries = [(report.summary, report.points_sha256) for report in reports if report is not None]
        examples = tuple(tuple(shard.x_adv_sha256 for shard in _shards(session, run.id)) for run in runs)
    return Evidence(tuple(without_times(summary, blobs.read(points)) for summary, points in summaries), examples)


def without_times(summary: bytes, points: bytes) -> bytes:
    """Return a stored report, its points included, with all that is measured in seconds left out."""
    content = json.loads(summary)
    stated = content.pop("points_sha256")
    if stated != hashlib.sha256(points).hexdigest():
        raise ValueError("the report is about other points")
    content["points"] = Points.from_bytes(points).model_dump(mode="json")
    whole = EvaluationReport.model_validate(content).model_dump(mode="json")
    whole["checks"] = [check for check in whole["checks"] if check["code"] not in TIMED_CHECKS]
    second = [whole["second_attack"]["outcome"]] if whole["second_attack"] else []
    for part in (*whole["attacks"], *second, whole["provenance"]):
        del part["seconds"]
    return canonical_json(whole)


def difference(found: Evidence, expected: Evidence) -> str:
    """Say in a few words where two pieces of evidence differ first; nothing where they are equal."""
    if len(found.reports) != len(expected.reports):
        return f"{len(found.reports)} reports instead of {len(expected.reports)}"
    for number, (one, other) in enumerate(zip(found.reports, expected.reports, strict=True)):
        way = _first_difference(json.loads(one), json.loads(other))
        if way is not None:
            return f"report {number + 1}, {way}"
    return "" if found.examples == expected.examples else f"files {found.examples} instead of {expected.examples}"


def _first_difference(found: object, expected: object) -> str | None:
    if isinstance(found, dict) and isinstance(expected, dict) and found.keys() == expected.keys():
        parts = [(f".{key}", found[key], expected[key]) for key in found]
    elif isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        parts = [(f"[{place}]", *pair) for place, pair in enumerate(zip(found, expected, strict=True))]
    else:
        return None if found == expected else f": {found!r:.200} instead of {expected!r:.200}"
    ways = ((part, _first_difference(one, other)) for part, one, other in parts)
    return next((f"{part}{way}" for part, way in ways if way is not None), None)


def wrongs(db: Database, submission_id: str, *, settled: bool = True) -> list[str]:
    """Return what is wrong with a submission in the database, whatever its result; nothing where all is well.

    Args:
        db: the database.
        submission_id: whose rows.
        settled: whether all its work must have come to an end.
    """
    with db.snapshot() as session:
        submission = session.get_one(SubmissionRow, submission_id)
        runs = session.scalars(select(RunRow).where(RunRow.submission_id == submission_id)).all()
        found = _wrong_way(session, submission)
        for run in runs:
            found += _wrong_run(session, run, settled=settled)
        entries = session.scalars(select(EntryRow).where(EntryRow.submission_id == submission_id)).all()
        if len(entries) != (submission.state == State.PUBLISHED):
            found.append(f"{len(entries)} entries of a submission that is {submission.state}")
        for entry in entries:
            sources = session.scalars(select(EntryHistoryRow.source).where(EntryHistoryRow.entry_id == entry.id)).all()
            reported = session.scalars(
                select(RunRow.protocol)
                .join(ReportRow, ReportRow.run_id == RunRow.id)
                .where(RunRow.submission_id == submission_id)
                .order_by(RunRow.id)
            ).all()
            own, *closer = reported
            if set(sources) - {UNANNOUNCED} != {f"Evaluated here, {own}", *closer} or len(sources) > len(set(sources)):
                found.append(f"the entry remembers {sources}, the reports are of {reported}")
    return [f"{submission_id} ({submission.name}): {wrong}" for wrong in found]


def _wrong_way(session: Session, submission: SubmissionRow) -> list[str]:
    steps = session.scalars(
        select(TransitionRow.state).where(TransitionRow.submission_id == submission.id).order_by(TransitionRow.id)
    ).all()
    found = [
        f"it went from {one} to {other}"
        for one, other in itertools.pairwise(steps)
        if State(other) not in LEGAL[State(one)]
    ]
    if steps[:1] != ["received"] or steps[-1] != submission.state:
        found.append(f"it is {submission.state} after {', '.join(steps)}")
    return found


def _wrong_run(session: Session, run: RunRow, *, settled: bool) -> list[str]:
    shards = _shards(session, run.id)
    found = [f"shard {shard.id} had attempt {shard.attempt}" for shard in shards if shard.attempt > MAX_ATTEMPTS]
    found += [
        f"shard {shard.id} is still {shard.state}"
        for shard in session.scalars(select(ShardRow).where(ShardRow.run_id == run.id))
        if settled and shard.state in ("queued", "running")
    ]
    done = [shard for shard in shards if shard.state == "done"]
    found += [f"shard {shard.id} is done without a report" for shard in done if shard.report_sha256 is None]
    if done and len(done) == len(shards):
        bounds = [0, *(shard.last for shard in shards)]
        if [shard.first for shard in shards] != bounds[:-1] or bounds[-1] != run.points:
            found.append(f"the shards of run {run.id} do not hold its points once each")
        judges = session.scalars(select(ShardRow.id).where(ShardRow.run_id == run.id, ShardRow.kind == "judge")).all()
        if len(judges) > 1:
            found.append(f"the examples of run {run.id} were judged {len(judges)} times")
    reports = len(session.scalars(select(ReportRow.id).where(ReportRow.run_id == run.id)).all())
    if reports > 1 or (reports and len(done) < len(shards)):
        found.append(f"run {run.id} has {reports} reports, and {len(done)} of {len(shards)} shards are done")
    return found


def _shards(session: Session, run_id: int) -> list[ShardRow]:
    shards = select(ShardRow).where(ShardRow.run_id == run_id, ShardRow.kind == "shard").order_by(ShardRow.first)
    return list(session.scalars(shards))
