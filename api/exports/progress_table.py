"""The progress of a board as comma-separated values: the rows of its charts, one after the other under one header."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from benchmark.cells import as_cell
from store.progress import BoardProgress, Chart

COLUMNS = (
    "chart",
    "model_id",
    "badge",
    "flagged",
    "venue",
    "year",
    "day",
    "best_known_robust_accuracy",
    "best_so_far",
    "raised",
    "entries",
    "claimed_robust_accuracy",
    "robust_accuracy",
    "overestimation",
)
"""The header; what a chart does not have is empty."""


def progress_as_csv(progress: BoardProgress) -> str:
    """Return what is told of a board's progress; accuracies are fractions, and differences of them too."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    writer.writerows([as_cell(row.get(column)) for column in COLUMNS] for row in _rows(progress))
    return text.getvalue()


def _rows(progress: BoardProgress) -> Iterator[dict[str, object]]:
    parts = (
        (Chart.BEST_KNOWN, progress.best_known and progress.best_known.entries),
        (Chart.VENUES, progress.venues and progress.venues.counts),
        (Chart.OVERESTIMATION, progress.overestimation and progress.overestimation.entries),
    )
    for chart, rows in parts:
        for row in rows or ():
            yield {"chart": chart.value} | row.model_dump()
