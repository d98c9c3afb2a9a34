"""The newest submissions."""

from __future__ import annotations

from typing import ClassVar

from fastapi import APIRouter, Request, Response

from store.actors import ANYBODY, Actor
from store.resubmission import ListedSubmissions, list_for
from store.services import Services
from store.states import UNDER_WAY
from store.submitters import submitter_of
from web.forms import to_sign_in
from web.rendering import Page, render
from web.services import Client, Store, Who

router = APIRouter()

SHOWN = 100
REFRESH_S = 10
_YES = "yes"


class SubmissionsPage(Page):
    """The newest submissions, the newest first."""

    template: ClassVar[str] = "submissions.html"
    section: ClassVar[str] = "submissions"

    listed: ListedSubmissions
    own: bool
    """Whether only those of the reader are shown."""
    limit: int

    @property
    def under_way(self) -> frozenset[str]:
        """Ids of those that move by themselves."""
        return frozenset(view.id for view in self.listed.submissions if view.state in UNDER_WAY)

    @property
    def acts(self) -> bool:
        """Whether the reader may do something about any of them."""
        return bool(self.listed.cancellable or self.listed.repeatable)


def submissions_page(
    services: Services, who: Actor = ANYBODY, submitter: str = "", *, own: bool = False
) -> SubmissionsPage:
    """Return what the list of submissions shows.

    Args:
        services: the store.
        who: who looks.
        submitter: for whom their work counts.
        own: only those that are theirs.
    """
    listed = list_for(services.db, SHOWN, who, submitter, own=own)
    under_way = any(view.state in UNDER_WAY for view in listed.submissions)
    return SubmissionsPage(
        title="Your submissions" if own else "Submissions",
        refresh_s=REFRESH_S if under_way else None,
        listed=listed,
        own=own,
        limit=SHOWN,
    )


@router.get("/submissions")
def show_submissions(request: Request, store: Store, who: Who, client: Client, own: str = "") -> Response:
    """Show the newest submissions, of all or of the reader alone."""
    if own == _YES and who.account_id is None:
        return to_sign_in(request)
    submitter = submitter_of(store.db, who, client)
    return render(request, submissions_page(store, who, submitter, own=own == _YES))
