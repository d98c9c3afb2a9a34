"""A leaderboard as a table for a paper."""

from __future__ import annotations

from store.characters import as_comment, as_tex
from store.views import BoardRow, BoardView

COLUMNS = 6


def as_latex(board: BoardView) -> str:
    """Return a board's rows as a table that needs the package booktabs; accuracies in percent."""
    attacked = board.epsilon is not None
    scores = ("Robust", "Best known") if attacked else ("On corruptions", "mCE")
    return "\n".join(
        [
            rf"% {as_comment(board.title)}; accuracies in percent. Needs \usepackage{{booktabs}}.",
            r"\begin{tabular}{rlrrrl}",
            r"\toprule",
            _line(["Rank", "Model", "Standard", *scores, "Source"]),
            r"\midrule",
            *(_line(_cells(row, attacked)) for row in board.rows),
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def _cells(row: BoardRow, attacked: bool) -> list[str]:
    last = _percent(row.best_known_robust_accuracy) if attacked else _number(row.mce)
    return [
        "--" if row.rank is None else str(row.rank),
        as_tex(row.model_id),
        _percent(row.standard_accuracy),
        _percent(row.robust_accuracy),
        last,
        as_tex(row.best_known_source),
    ]


def _percent(accuracy: float | None) -> str:
    return _number(None if accuracy is None else 100 * accuracy)


def _number(value: float | None) -> str:
    return "--" if value is None else f"{value:.2f}"


def _line(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"
