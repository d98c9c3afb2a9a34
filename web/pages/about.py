"""The rules, the protocol in short, and what every badge means."""

from __future__ import annotations

from typing import ClassVar

from fastapi import APIRouter, Request, Response

from benchmark.protocol_table import RANKING, DescribedAttack
from benchmark.rules import RULES, VERSION, Rule
from benchmark.threat_models import BOARDS, Board
from web.chapters import DocsPage
from web.glossary import TERMS, Term
from web.rendering import render

router = APIRouter()

ADDRESS = "/about"


class AboutPage(DocsPage):
    """The rules."""

    template: ClassVar[str] = "about.html"
    section: ClassVar[str] = "about"

    version: int
    """Of the restrictions."""
    rules: tuple[Rule, ...]
    attacks: tuple[DescribedAttack, ...]
    """Those that rank, in order."""
    terms: tuple[Term, ...]
    boards: tuple[Board, ...]


def about_page() -> AboutPage:
    """Return what the page about the rules shows."""
    return AboutPage(
        title="Rules",
        address=ADDRESS,
        version=VERSION,
        rules=RULES[VERSION],
        attacks=RANKING,
        terms=TERMS,
        boards=BOARDS,
    )


@router.get(ADDRESS)
def show_about(request: Request) -> Response:
    """Show the rules."""
    return render(request, about_page())
