"""Which format of a leaderboard is asked for, and its answer."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from api.exports.latex import as_latex
from api.exports.table import as_csv
from store.bibtex import as_bibtex
from store.views import BoardView

JSON = "application/json"
CSV = "text/csv"


class Format(StrEnum):
    """How a leaderboard is written."""

    JSON = "json"
    CSV = "csv"
    BIBTEX = "bibtex"
    LATEX = "latex"


MEDIA_TYPES = {
    Format.JSON: JSON,
    Format.CSV: f"{CSV}; charset=utf-8; header=present",
    Format.BIBTEX: "application/x-bibtex; charset=utf-8",
    Format.LATEX: "application/x-latex; charset=utf-8",
}
_ENDINGS = {Format.CSV: "csv", Format.BIBTEX: "bib", Format.LATEX: "tex"}
WRITERS: dict[Format, Callable[[BoardView], str]] = {
    Format.CSV: as_csv,
    Format.BIBTEX: as_bibtex,
    Format.LATEX: as_latex,
}


def wanted(asked: Format | None, accept: str) -> Format:
    """Return the format: the one asked for by name, else CSV for those who accept it and like JSON no better."""
    if asked is not None:
        return asked
    qualities = dict(map(_read, accept.split(",")))
    liked = qualities.get(CSV, 0.0)
    return Format.CSV if liked > 0 and liked >= qualities.get(JSON, 0.0) else Format.JSON


def written(board: BoardView, how: Format) -> bytes:
    """Return a board in a format."""
    text = board.model_dump_json() if how is Format.JSON else WRITERS[how](board)
    return text.encode("utf-8", "replace")


def headers_of(how: Format, dataset: str, threat_model: str) -> dict[str, str]:
    """Return the headers of a board in a format: it is a file to keep, but JSON is to be shown."""
    if how is Format.JSON:
        return {}
    return {"Content-Disposition": f'attachment; filename="{dataset}-{threat_model}.{_ENDINGS[how]}"'}


def _read(part: str) -> tuple[str, float]:
    media, *parameters = (piece.strip().lower() for piece in part.split(";"))
    quality = next((value.removeprefix("q=") for value in parameters if value.startswith("q=")), "1")
    try:
        return media, float(quality)
    except ValueError:
        return media, 0.0
