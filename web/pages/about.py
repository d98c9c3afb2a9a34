"""The rules, the protocol in short, and what every badge means."""

from __future__ import annotations

from typing import ClassVar

from fastapi import APIRouter, Request, Response

from benchmark.rules import RULES, VERSION, Rule
from benchmark.threat_models import BOARDS, Board
from web.glossary import TERMS, Term
from web.rendering import Page, render

router = APIRouter()


class AboutPage(Page):
    """The rules."""

    template: ClassVar[str] = "about.html"
    section: ClassVar[str] = "about"

    version: int
    """Of the restrictions."""
    rules: tuple[Rule, ...]
    terms: tuple[Term, ...]
    boards: tuple[Board, ...]


def about_page() -> AboutPage:
    """Return what the page about the rules shows."""
    return AboutPage(title="Rules", version=VERSION, rules=RULES[VERSION], terms=TERMS, boards=BOARDS)


@router.get("/about")
def show_about(request: Request) -> Response:
    """Show the rules."""
    return render(request, about_page())
