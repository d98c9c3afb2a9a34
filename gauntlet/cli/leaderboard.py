"""``gauntlet leaderboard``."""

from __future__ import annotations

from typing import Annotated

import typer

from benchmark.errors import InvalidInput
from gauntlet.cli.console import DEFAULT_SERVER, AsJson, Server, percent, print_json, print_table, table_of


def leaderboard(
    board: Annotated[str, typer.Argument(metavar="DATASET/THREAT_MODEL", help='Such as "digits/Linf".')],
    search: Annotated[str | None, typer.Option(help="Words in name, title, architecture or venue.")] = None,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Show a leaderboard."""
    dataset, slash, threat_model = board.partition("/")
    if not (dataset and slash and threat_model):
        raise InvalidInput.because(
            "board", found=repr(board), expected="DATASET/THREAT_MODEL", remedy='write it like "digits/Linf"'
        )
    from gauntlet.client import Client

    with Client(server) as client:
        view = client.leaderboard(dataset, threat_model, search=search)
    if as_json:
        print_json(view.model_dump(mode="json"))
        return
    attacked = view.epsilon is not None
    scores = ("Robust", "Best known") if attacked else ("On corruptions", "mCE")
    columns = ("Rank", "Model", "Standard", *scores, "Source of the number", "Architecture", "Venue")
    rows = [
        (
            row.rank,
            row.model_id,
            percent(row.standard_accuracy),
            percent(row.robust_accuracy),
            percent(row.best_known_robust_accuracy) if attacked else _error(row.mce),
            row.badge.value.replace("_", " "),
            row.architecture,
            row.venue,
        )
        for row in view.rows
    ]
    print_table(table_of(columns, rows, title=view.title))


def _error(mce: float | None) -> str:
    return "–" if mce is None else f"{mce:.1f}"
