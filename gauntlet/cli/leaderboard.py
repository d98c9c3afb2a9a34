"""``gauntlet leaderboard``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.errors import InvalidInput
from gauntlet.cli.console import DEFAULT_SERVER, AsJson, Server, board_place, percent, print_json, print_table, table_of

if TYPE_CHECKING:
    from store.views import BoardView


class BoardFormat(StrEnum):
    """How the board is written for others."""

    CSV = "csv"
    BIBTEX = "bibtex"
    LATEX = "latex"
    MODEL_INFO = "model-info"


def leaderboard(
    board: Annotated[str, typer.Argument(metavar="DATASET/THREAT_MODEL", help='Such as "digits/Linf".')],
    search: Annotated[str | None, typer.Option(help="Words in name, title, architecture or venue.")] = None,
    as_of: Annotated[
        str | None, typer.Option(help="Show the board as it stood then: a date or date-time, UTC.")
    ] = None,
    written: Annotated[
        BoardFormat | None, typer.Option("--format", help="For others: as text, or a folder of model-info files.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Where to write it.", show_default="stdout")] = None,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Show a leaderboard, or write it for spreadsheets, papers and other benchmarks."""
    dataset, threat_model = board_place(board)
    _require_sense(written, output, as_json=as_json)
    from gauntlet.client import Client

    with Client(server) as client:
        view = client.leaderboard(dataset, threat_model, search=search, as_of=as_of)
    if written is BoardFormat.MODEL_INFO and output is not None:
        _write_files(view, output, as_json=as_json)
    elif written is not None:
        _write_text(view, written, output)
    elif as_json:
        print_json(view.model_dump(mode="json"))
    else:
        _show(view)


def _require_sense(written: BoardFormat | None, output: Path | None, *, as_json: bool) -> None:
    folder = written is BoardFormat.MODEL_INFO
    if folder and output is None:
        raise InvalidInput.because(
            "output", found="nothing", expected="a folder for one file an entry", remedy="name it with --output"
        )
    if written is None and output is not None:
        raise InvalidInput.because(
            "format", found="nothing", expected=f"one of {', '.join(BoardFormat)}", remedy="say what to write"
        )
    if written is not None and not folder and as_json:
        raise InvalidInput.because(
            "format", found=f"{written} and --json", expected="one of the two", remedy="leave one of them out"
        )


def _write_text(view: BoardView, written: BoardFormat, output: Path | None) -> None:
    from api.exports.formats import WRITERS, Format

    text = WRITERS[Format(written)](view)
    if output is None:
        print(text, end="")
    else:
        output.write_bytes(text.encode("utf-8", "replace"))


def _write_files(view: BoardView, output: Path, *, as_json: bool) -> None:
    from benchmark.threat_models import official_board
    from store.admission import NAME
    from store.model_info import write_info

    board = official_board(view.dataset, view.threat_model)
    folder = output / board.dataset / board.threat_model
    folder.mkdir(parents=True, exist_ok=True)
    for row in view.rows:
        if not NAME.fullmatch(row.model_id):  # a service that is none of ours may not choose where files are written
            raise InvalidInput.because(
                "model_id",
                found=ascii(row.model_id)[:100],
                expected="a name that fits a file",
                remedy="ask the service",
            )
        (folder / f"{row.model_id}.json").write_bytes(write_info(row, board))
    if as_json:
        print_json({"folder": str(folder), "files": len(view.rows)})
    else:
        print(f"{len(view.rows)} files in {folder}")


def _show(view: BoardView) -> None:
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
