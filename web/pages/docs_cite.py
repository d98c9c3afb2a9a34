"""How to cite an entry, a board, and the work that this benchmark stands on."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import ClassVar

from fastapi import APIRouter, Request, Response

from benchmark.threat_models import BOARDS, Board
from web.chapters import DocsPage
from web.rendering import render

router = APIRouter()

ADDRESS = "/docs/cite"


class CitePage(DocsPage):
    """Citations to copy."""

    template: ClassVar[str] = "docs_cite.html"

    service: str
    """Address of this service as whoever asks knows it, with a slash at its end."""
    version: str
    """Of the service."""
    day: date
    board: Board
    """One that this service evaluates for, as an example."""


def cite_page(service: str, version: str, day: date) -> CitePage:
    """Return what the page about citing shows."""
    board = next(board for board in BOARDS if board.evaluated_here and board.attacked)
    return CitePage(title="Citing", address=ADDRESS, service=service, version=version, day=day, board=board)


@router.get(ADDRESS)
async def show_cite(request: Request) -> Response:
    """Show the citations, as of today."""
    return render(request, cite_page(str(request.base_url), request.app.version, datetime.now(UTC).date()))
