"""The newest submissions."""

from __future__ import annotations

from typing import ClassVar

from fastapi import APIRouter, Request, Response

from store.actors import Actor
from store.services import Services
from store.states import UNDER_WAY
from store.submissions import list_submissions
from store.views import SubmissionView
from web.rendering import Page, render
from web.services import Store, Who

router = APIRouter()

SHOWN = 100
REFRESH_S = 10


class SubmissionsPage(Page):
    """The newest submissions, the newest first."""

    template: ClassVar[str] = "submissions.html"
    section: ClassVar[str] = "submissions"

    submissions: tuple[SubmissionView, ...]
    limit: int


def submissions_page(services: Services, who: Actor | None = None) -> SubmissionsPage:
    """Return what the list of submissions shows."""
    views = list_submissions(services.db, SHOWN, who)
    return SubmissionsPage(
        title="Submissions",
        refresh_s=REFRESH_S if any(view.state in UNDER_WAY for view in views) else None,
        submissions=views,
        limit=SHOWN,
    )


@router.get("/submissions")
def show_submissions(request: Request, store: Store, who: Who) -> Response:
    """Show the newest submissions."""
    return render(request, submissions_page(store, who))
