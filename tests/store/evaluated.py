"""A board of entries that were evaluated here, put there without any evaluation: many of them in little time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from benchmark.report import Points
from store.blobs import Blobs
from store.database import Database, new_id
from store.submission_views import as_columns
from store.tables import EntryRow, ReportRow, RunRow, SubmissionRow
from store.views import Badge, NewSubmission, State
from tests.store.material import board_entry

ATTACKS = ("apgd-ce", "apgd-t", "fab-t", "square")


def points_of(robust: Sequence[bool], first: int = 0) -> Points:
    """Points with these verdicts, what is not robust broken by the first attack."""
    return Points(
        index=tuple(range(first, first + len(robust))),
        label=tuple(i % 10 for i in range(len(robust))),
        robust=tuple(robust),
        broken_by=tuple(None if one else ATTACKS[0] for one in robust),
        step=tuple(None if one else 3 for one in robust),
        distance=tuple(None if one else 0.8 for one in robust),
    )


def add_evaluated(db: Database, blobs: Blobs, entries: Sequence[tuple[str, Sequence[bool]]]) -> None:
    """Put entries on digits/L2 as if they had been evaluated here.

    Args:
        db: the database.
        blobs: where their verdicts lie.
        entries: names and verdicts on single points.
    """
    submissions = [_submission(name) for name, _ in entries]
    runs = [_run(submission.id, len(robust)) for submission, (_, robust) in zip(submissions, entries, strict=True)]
    with db.transaction() as session:
        session.add_all(submissions)
        session.flush()
        session.add_all(runs)
        session.flush()
        places = {robust: blobs.put(points_of(robust).to_bytes()) for robust in {tuple(one) for _, one in entries}}
        reports = [_report(run.id, tuple(one), places) for run, (_, one) in zip(runs, entries, strict=True)]
        session.add_all(reports)
        session.flush()
        for submission, report, (name, robust) in zip(submissions, reports, entries, strict=True):
            session.add(_entry(name, sum(robust) / len(robust), submission.id, report.id))


def _submission(name: str) -> SubmissionRow:
    new = NewSubmission(
        name=name, dataset="digits", threat_model="L2", architecture="tiny-cnn", checkpoint_sha256="0" * 64
    )
    return SubmissionRow(
        id=new_id(1),
        **as_columns(new),
        baseline=False,
        submitter="",
        state=State.PUBLISHED,
        reason="",
        created_ms=1,
        updated_ms=1,
    )


def _run(submission_id: str, points: int) -> RunRow:
    return RunRow(
        submission_id=submission_id,
        protocol="standard-1",
        seed=0,
        seed_key="0" * 64,
        norm="L2",
        epsilon="4/5",
        points=points,
        sources="[]",
        checks="[]",
        evidence="[]",
        purpose="ranking",
        concluded=False,
        priority=0,
        needs_cuda=False,
        created_ms=1,
    )


def _report(run_id: int, robust: tuple[bool, ...], places: Mapping[tuple[bool, ...], str]) -> ReportRow:
    return ReportRow(
        run_id=run_id,
        summary=_summary(sum(robust) / len(robust)),
        summary_sha256="0" * 64,
        points_sha256=places[robust],
        created_ms=1,
    )


def _summary(left: float) -> bytes:
    attacks = [
        {
            "name": name,
            "robust_accuracy_after": left + (1 - left) * 0.1 * (len(ATTACKS) - 1 - place),
            "forward_passes": 1_000 + place,
            "backward_passes": 500,
        }
        for place, name in enumerate(ATTACKS)
    ]
    return json.dumps({"attacks": attacks}).encode()


def _entry(name: str, left: float, submission_id: str, report_id: int) -> EntryRow:
    entry = board_entry(
        name, left, 0.98, 1_700_000_000_000, title=f"Careful training by the method {name}", robust=left
    )
    entry.badge, entry.protocol = Badge.EVALUATED, "standard-1"
    entry.submission_id, entry.report_id = submission_id, report_id
    entry.authors, entry.venue = "A. Author, B. Author, C. Author", "ICLR 2026"
    entry.best_known_source = "Evaluated here, standard-1"
    entry.standard_low, entry.standard_high, entry.robust_low, entry.robust_high = 0.96, 0.99, left * 0.9, left
    return entry
