"""How the commands speak: results on stdout, everything else on stderr, exit codes that mean something."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.errors import GauntletError, InvalidInput

if TYPE_CHECKING:
    from rich.progress import Progress
    from rich.table import Table

EPILOG = (
    "Exit codes: 0 it worked; 1 the model, submission or claim was refused, its evaluation failed, the result differs, "
    "or files are lost; 2 the command or its input is invalid; 3 the service cannot be reached; 130 interrupted."
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")]
Server = Annotated[str, typer.Option("--server", envvar="GAUNTLET_SERVER", help="Address of the service.")]
LogLevel = Annotated[str | None, typer.Option(help="debug, info, warning or error.", show_default="warning")]
DataDir = Annotated[
    Path | None,
    typer.Option(help="Folder of the data sets.", show_default="GAUNTLET_DATA_DIR, or ~/.cache/gauntlet/data"),
]
Device = Annotated[str, typer.Option(help='Where to run, such as "cuda".')]
Preprocessing = Annotated[
    str | None, typer.Option(help='What is done to images first, such as "Crop288".', show_default="the data set's")
]
EXPORTED = "exported"
"""What stands for the architecture where a file holds the whole network."""
DEFAULT_SERVER = "http://127.0.0.1:8000"


def board_place(board: str) -> tuple[str, str]:
    """Return the data set and the threat model of a board as commands take it.

    Raises:
        InvalidInput: it is not written so.
    """
    dataset, slash, threat_model = board.partition("/")
    if not (dataset and slash and threat_model):
        raise InvalidInput.because(
            "board", found=repr(board), expected="DATASET/THREAT_MODEL", remedy='write it like "digits/Linf"'
        )
    return dataset, threat_model


class ExitCode(IntEnum):
    """What the command's exit code says."""

    OK = 0
    FAILED = 1
    INVALID = 2
    UNREACHABLE = 3
    INTERRUPTED = 130


def exit_code_of(error: GauntletError) -> ExitCode:
    """Return the exit code of a command that ends with this error."""
    status = getattr(error, "status", None)
    if error.code == "service_unreachable" or (isinstance(status, int) and status >= 500):
        return ExitCode.UNREACHABLE
    return ExitCode.INVALID if isinstance(error, InvalidInput) or status is not None else ExitCode.FAILED


def report_error(error: GauntletError, *, as_json: bool) -> None:
    """Say what is wrong: in one line on stderr, and with --json in the one shape on stdout too."""
    print(f"error: {_one_line(error)}", file=sys.stderr)
    if as_json:
        print_json(error.as_json())


def print_json(content: object) -> None:
    """Print a JSON document on stdout."""
    print(json.dumps(content, indent=2, ensure_ascii=False), flush=True)


def print_table(table: Table) -> None:
    """Print a table on stdout, as wide as it needs to be where nobody looks."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console.width = 200
    console.print(table)


def table_of(columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str | None = None) -> Table:
    """Build a table; numbers stand right, None is a dash."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        numeric = bool(rows) and all(row[number] is None or isinstance(row[number], int | float) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*("–" if cell is None else escape(str(cell)) for cell in row))
    return table


def progress_bar(*, silent: bool, as_bytes: bool = False) -> Progress:
    """Return a progress display on stderr, which stays silent where nobody looks."""
    from rich import progress
    from rich.console import Console

    console = Console(stderr=True)
    amount = progress.DownloadColumn() if as_bytes else progress.TaskProgressColumn()
    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        amount,
        progress.TimeRemainingColumn(),
        console=console,
        disable=silent or not console.is_terminal,
        transient=True,
    )


def percent(accuracy: float | None, digits: int = 2) -> str | None:
    """Show an accuracy to people."""
    return None if accuracy is None else f"{100 * accuracy:.{digits}f} %"


def _one_line(error: GauntletError) -> str:
    text, detail = error.message, error.detail
    if detail is not None:
        if detail.found not in text:
            text = f"{text} {detail.field}: found {detail.found}, expected {detail.expected}."
        text = f"{text} Remedy: {detail.remedy}."
    return " ".join(text.split())
