"""A leaderboard as comma-separated values, one header row and one row an entry."""

from __future__ import annotations

import csv
import io

from benchmark.cells import as_cell
from store.views import BoardRow, BoardView

COLUMNS = (
    "rank",
    "model_id",
    "title",
    "authors",
    "venue",
    "link",
    "badge",
    "standard_accuracy",
    "standard_low",
    "standard_high",
    "robust_accuracy",
    "robust_low",
    "robust_high",
    "best_known_robust_accuracy",
    "best_known_source",
    "tied_with",
    "claimed_robust_accuracy",
    "potentially_unreliable",
    "findings",
    "extra_data",
    "architecture",
    "parameters",
    "forward_passes",
    "zoo_id",
    "baseline",
    "protocol",
    "old_protocol",
    "epsilon",
    "footnote",
    "mce",
    "corruption_accuracy_3d",
    "mce_3d",
    "submission_id",
    "published_ms",
    "anonymous",
    "withdrawn_ms",
    "withdrawn_reason",
    "expires_ms",
)
"""The header. Accuracies and their 95 % intervals are in [0, 1]; unknown is empty; findings are parted by spaces."""


def as_csv(board: BoardView) -> str:
    """Return a board's rows as RFC 4180 has it, and so that no spreadsheet takes a text for a formula."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    writer.writerows([as_cell(value) for value in _values(row)] for row in board.rows)
    return text.getvalue()


def _values(row: BoardRow) -> list[object]:
    values: dict[str, object] = {name: getattr(row, name) for name in BoardRow.model_fields}
    for name, interval in (("standard", row.standard_interval), ("robust", row.robust_interval)):
        values |= {f"{name}_low": interval and interval.low, f"{name}_high": interval and interval.high}
    values["findings"] = " ".join(row.findings)
    return [values[column] for column in COLUMNS]
