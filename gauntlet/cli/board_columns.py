"""What a board says of its models: a service's, or what comes along with the program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark.report import EvaluationReport

if TYPE_CHECKING:
    from benchmark.threat_models import Board
    from store.views import BoardRow


@dataclass(frozen=True)
class Columns:
    """A row of a board.

    Args:
        source: where the numbers are from.
        standard_accuracy: as the board says.
        robust_accuracy: under the board's protocol or AutoAttack.
        best_known_robust_accuracy: in the worst case over all that is known.
        n_points: how many points they are over.
        report: the evaluation behind them, where it is known point by point.
        footnote: what else is to be said of them.
    """

    source: str
    standard_accuracy: float | None
    robust_accuracy: float | None
    best_known_robust_accuracy: float | None
    n_points: int
    report: EvaluationReport | None = None
    footnote: str = ""

    @classmethod
    def of_report(cls, report: EvaluationReport, source: str) -> Columns:
        """Return what one evaluation says, beside which none is known."""
        robust = report.robust_accuracy
        return cls(source, report.standard_accuracy, robust, robust, report.n_points, report)


def columns_at_hand(board: Board, models: Sequence[str]) -> dict[str, Columns]:
    """Return what comes along: reports of the models that do, and the published numbers of others."""
    from model_zoo.registry import bundled_report, cards
    from store.reference import ROBUSTBENCH, reported_entries

    published = reported_entries(board.dataset, board.threat_model)
    found = {
        model: Columns(
            ROBUSTBENCH,
            published[model].standard_accuracy,
            published[model].robust_accuracy,
            published[model].best_known_robust_accuracy,
            board.points,
            footnote=published[model].footnote,
        )
        for model in models
        if model in published
    }
    for card in cards():
        path = bundled_report(card, board.threat_model)
        if card.id in models and card.dataset == board.dataset and path.is_file():
            report = EvaluationReport.model_validate_json(path.read_bytes())
            found[card.id] = Columns.of_report(report, f"{report.protocol}, comes along")
    return found


def columns_of_service(server: str, board: Board, models: Sequence[str]) -> dict[str, Columns]:
    """Return what a service's board says, with the reports of what it evaluated itself.

    Raises:
        ServiceUnreachable: no service answers there.
        RefusedByService: it does not know the board.
    """
    from gauntlet.client import Client
    from store.views import Badge

    with Client(server) as client:
        rows = client.leaderboard(board.dataset, board.threat_model).rows
        return {
            row.model_id: _columns(
                row,
                client.base_url,
                client.report(board.dataset, board.threat_model, row.model_id)
                if row.badge is Badge.EVALUATED
                else None,
                board.points,
            )
            for row in rows
            if row.model_id in models
        }


def _columns(row: BoardRow, source: str, report: EvaluationReport | None, points: int) -> Columns:
    return Columns(
        source,
        row.standard_accuracy,
        row.robust_accuracy,
        row.best_known_robust_accuracy,
        points if report is None else report.n_points,
        report,
        row.footnote,
    )
