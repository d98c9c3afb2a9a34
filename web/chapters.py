"""The chapters of the documentation: said once, for its contents and for the list on every one of its pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from web.rendering import Page


@dataclass(frozen=True)
class Chapter:
    """A chapter of the documentation.

    Args:
        address: of its page.
        name: what lists call it.
        sentence: what it tells.
    """

    address: str
    name: str
    sentence: str


CHAPTERS = (
    Chapter(
        "/about",
        "Rules",
        "What is measured, what a model must keep to, and what every badge and flag on the boards means.",
    ),
    Chapter(
        "/docs/protocol",
        "Protocols",
        "The attacks in their order with all their settings, the corruptions, and what each board ranks by.",
    ),
    Chapter("/docs/formats", "Formats", "Which files can be submitted, how to make one, and how large it may be."),
    Chapter("/docs/api", "Programs", "How to read the boards and submit models from a program, with three examples."),
    Chapter("/docs/cite", "Citing", "How to cite an entry, a board and the work that this benchmark stands on."),
)


class DocsPage(Page):
    """A page of the documentation."""

    section: ClassVar[str] = "docs"

    address: str
    """Its own."""
    chapters: tuple[Chapter, ...] = CHAPTERS
