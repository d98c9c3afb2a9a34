"""Reports of runs as rows: the summary, and the hash of its points' blob."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.orm import Session

from benchmark.report import EvaluationReport
from store.blobs import Blobs
from store.database import database_now_ms
from store.tables import ReportRow, RunRow


def store_report(session: Session, run: RunRow, report: EvaluationReport) -> ReportRow:
    """Add the report of a run; the blob of its points is stored already."""
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


def read_report(session: Session, blobs: Blobs, report_id: int) -> EvaluationReport:
    """Return a report with its points."""
    return read_reports(session, blobs, [report_id])[report_id]


def read_reports(session: Session, blobs: Blobs, report_ids: Collection[int]) -> dict[int, EvaluationReport]:
    """Return reports with their points by their ids, in one query."""
    wanted = select(ReportRow.id, ReportRow.summary, ReportRow.points_sha256).where(ReportRow.id.in_(report_ids))
    found = {}
    for report_id, summary, points_sha256 in session.execute(wanted):
        content = json.loads(summary)
        del content["points_sha256"]
        content["points"] = json.loads(gzip.decompress(blobs.read(points_sha256)))
        found[report_id] = EvaluationReport.model_validate(content)
    return found
