"""The mean corruption error of entries, against their board's baseline."""

from __future__ import annotations

import json
from collections.abc import Iterable

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from benchmark.corruption_table import CorruptionTable, mean_corruption_error
from store.tables import EntryRow, ReportRow
from store.views import Badge


def score_errors(session: Session, entry: EntryRow) -> None:
    """Give an entry its mean corruption error; a baseline gives it to all of its board that were there before it.

    Entries have none while their board has no baseline that was evaluated here.

    Args:
        session: the transaction that publishes the entry.
        entry: of a board of corruptions, with its report.
    """
    baseline = entry if entry.baseline else session.scalar(_evaluated(entry).where(EntryRow.baseline).limit(1))
    if baseline is None:
        return
    reference, of = _table(session, baseline)
    scored: Iterable[EntryRow] = session.scalars(_evaluated(entry)) if entry.baseline else (entry,)
    for one in scored:
        table, points = _table(session, one)
        one.mce = mean_corruption_error(table, points, reference, of)


def _evaluated(entry: EntryRow) -> Select[EntryRow]:
    return (
        select(EntryRow)
        .where(
            EntryRow.dataset == entry.dataset,
            EntryRow.threat_model == entry.threat_model,
            EntryRow.badge == Badge.EVALUATED,
        )
        .order_by(EntryRow.id)
    )


def _table(session: Session, entry: EntryRow) -> tuple[CorruptionTable, int]:
    summary = json.loads(session.scalars(select(ReportRow.summary).where(ReportRow.id == entry.report_id)).one())
    return CorruptionTable.model_validate(summary["corruptions"]), int(summary["n_points"])
