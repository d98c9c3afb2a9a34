"""What each part of an evaluation has left: after every attack, or under every type of corruption."""

from __future__ import annotations

import json
from collections.abc import Collection

from sqlalchemy import select

from benchmark.corruption_table import CorruptionTable
from benchmark.threat_models import Board, official_board
from store.board_filters import of_board
from store.database import Database
from store.tables import EntryRow, ReportRow
from store.views import View

MOST_BREAKDOWNS = 1_000
"""Most entries that are asked for at once: each has a report to be read."""


class Breakdown(View):
    """The parts of an entry's evaluation, in their order."""

    accuracies: dict[str, float]
    """Robust accuracy after each attack; where nobody attacks, mean accuracy by type of corruption."""
    forward_passes: int
    """Images that the evaluation sent forward through the model."""
    backward_passes: int


def list_breakdowns(db: Database, dataset: str, threat_model: str, model_ids: Collection[str]) -> dict[str, Breakdown]:
    """Return the breakdowns of those of a board's entries that were evaluated here: one query, and no single point.

    Args:
        db: the database.
        dataset: with ``threat_model`` the board's name.
        threat_model: see ``dataset``.
        model_ids: whose; of more than `MOST_BREAKDOWNS` the first.
    Raises:
        NotFound: there is no such board.
    """
    board = official_board(dataset, threat_model)
    query = (
        select(EntryRow.model_id, ReportRow.summary)
        .join(ReportRow, ReportRow.id == EntryRow.report_id)
        .where(of_board(board), EntryRow.model_id.in_(list(model_ids)[:MOST_BREAKDOWNS]))
    )
    with db.snapshot() as session:
        return {model_id: _breakdown(summary, board) for model_id, summary in session.execute(query)}


def _breakdown(summary: bytes, board: Board) -> Breakdown:
    content = json.loads(summary)
    if board.attacked:
        attacks = content["attacks"]
        return Breakdown(
            accuracies={attack["name"]: attack["robust_accuracy_after"] for attack in attacks},
            forward_passes=sum(attack["forward_passes"] for attack in attacks),
            backward_passes=sum(attack["backward_passes"] for attack in attacks),
        )
    table = CorruptionTable.model_validate(content["corruptions"])
    accuracies = {corruption: 1 - error for corruption, error in table.errors(content["n_points"]).items()}
    return Breakdown(accuracies=accuracies, forward_passes=table.forward_passes, backward_passes=0)
