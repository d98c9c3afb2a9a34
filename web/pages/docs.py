"""The contents of the documentation."""

from __future__ import annotations

from typing import ClassVar

from fastapi import APIRouter, Request, Response

from web.chapters import DocsPage
from web.rendering import render

router = APIRouter()

ADDRESS = "/docs"


class ContentsPage(DocsPage):
    """Every chapter with a sentence."""

    template: ClassVar[str] = "docs.html"


@router.get(ADDRESS)
def show_docs(request: Request) -> Response:
    """Show the contents."""
    return render(request, ContentsPage(title="Documentation", address=ADDRESS))
