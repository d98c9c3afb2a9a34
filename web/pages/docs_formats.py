"""What may be submitted, how to make it, and how large it may be."""

from __future__ import annotations

from typing import ClassVar

from fastapi import APIRouter, Request, Response

from benchmark.threat_models import BOARDS
from store.services import Services
from web.chapters import DocsPage
from web.pages.submit import Family
from web.rendering import render
from web.services import Store

router = APIRouter()

ADDRESS = "/docs/formats"


class FormatsPage(DocsPage):
    """The kinds of files, the registered architectures, and the limits of this service."""

    template: ClassVar[str] = "docs_formats.html"

    families: tuple[Family, ...]
    """By the data sets of all boards."""
    max_bytes: int
    """Of one file."""
    bytes_a_day: int
    """Of one account."""
    bytes_kept: int


def formats_page(services: Services) -> FormatsPage:
    """Return what the page about formats shows."""
    datasets = dict.fromkeys(board.dataset for board in BOARDS)
    return FormatsPage(
        title="Formats",
        address=ADDRESS,
        families=tuple(
            Family(dataset=dataset, architectures=services.admission.architectures(dataset)) for dataset in datasets
        ),
        max_bytes=services.admission.max_checkpoint_bytes,
        bytes_a_day=services.quotas.bytes_a_day,
        bytes_kept=services.quotas.bytes_kept,
    )


@router.get(ADDRESS)
def show_formats(request: Request, store: Store) -> Response:
    """Show the formats."""
    return render(request, formats_page(store))
