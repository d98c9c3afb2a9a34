"""Closer looks as they are shown."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from benchmark.errors import NotFound
from benchmark.report import EvaluationReport
from store.blobs import Blobs
from store.database import Database
from store.reports import read_report
from store.submission_views import combine_progress, view_seed
from store.tables import EntryRow, ReportRow, RunRow, ShardRow
from store.views import LookState, LookView, Purpose


def get_look(
    db: Database, blobs: Blobs, dataset: str, threat_model: str, model_id: str, number: int
) -> EvaluationReport:
    """Return the report of a closer look at an entry.

    Raises:
        NotFound: the entry has no closer look of that number, or it is not done.
    """
    with db.snapshot() as session:
        report_id = session.scalar(
            select(ReportRow.id)
            .join(RunRow, RunRow.id == ReportRow.run_id)
            .join(EntryRow, EntryRow.submission_id == RunRow.submission_id)
            .where(
                EntryRow.dataset == dataset,
                EntryRow.threat_model == threat_model,
                EntryRow.model_id == model_id,
                RunRow.id == number,
                RunRow.purpose == Purpose.FOLLOW_UP,
            )
        )
        if report_id is None:
            raise NotFound.because(
                "look",
                found=str(number),
                expected="the number of a closer look at this entry that is done",
                remedy="choose one that the entry lists",
            )
        return read_report(session, blobs, report_id)


def view_looks(session: Session, submission_id: str) -> tuple[LookView, ...]:
    """Show the closer looks at an entry, the oldest first, with as many queries for many as for one."""
    runs = session.scalars(
        select(RunRow)
        .where(RunRow.submission_id == submission_id, RunRow.purpose == Purpose.FOLLOW_UP)
        .order_by(RunRow.id)
    ).all()
    ids = [run.id for run in runs]
    shards: dict[int, list[ShardRow]] = {}
    for shard in session.scalars(select(ShardRow).where(ShardRow.run_id.in_(ids), ShardRow.kind == "shard")):
        shards.setdefault(shard.run_id, []).append(shard)
    summaries = session.execute(select(ReportRow.run_id, ReportRow.summary).where(ReportRow.run_id.in_(ids)))
    attacks = {run_id: json.loads(summary)["attacks"] for run_id, summary in summaries}
    return tuple(_look(run, shards.get(run.id, []), attacks.get(run.id)) for run in runs)


def _look(run: RunRow, shards: Sequence[ShardRow], attacks: Sequence[dict[str, int]] | None) -> LookView:
    begun = any(shard.state in {"running", "done"} for shard in shards)
    state = LookState.RUNNING if begun else LookState.QUEUED
    if run.concluded:
        state = LookState.FAILED if attacks is None else LookState.DONE
    elif any(shard.state == "cancelled" for shard in shards):
        state = LookState.SUSPENDED
    return LookView(
        number=run.id,
        protocol=run.protocol,
        state=state,
        points=run.points,
        sources=tuple(source["name"] for source in json.loads(run.sources)),
        progress=combine_progress(run.points, shards),
        broken=None if attacks is None else sum(attack["broken"] for attack in attacks),
        seed=view_seed(run, told=attacks is not None),
        created_ms=run.created_ms,
    )
