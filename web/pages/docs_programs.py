"""How programs read the boards and submit models."""

from __future__ import annotations

from typing import ClassVar

from fastapi import APIRouter, Request, Response

from web.chapters import DocsPage
from web.rendering import render

router = APIRouter()

ADDRESS = "/docs/api"


class ProgramsPage(DocsPage):
    """The REST interface in three examples."""

    template: ClassVar[str] = "docs_programs.html"

    service: str
    """Address of this service as whoever asks knows it, with a slash at its end."""


@router.get(ADDRESS)
async def show_programs(request: Request) -> Response:
    """Show the examples, ready to be tried."""
    return render(request, ProgramsPage(title="Programs", address=ADDRESS, service=str(request.base_url)))
