"""One evaluation by others, until its examples are judged and after."""

from __future__ import annotations

from typing import ClassVar

from fastapi import APIRouter, Request, Response

from store.externals import get_external
from store.positions import write_positions
from store.services import Services
from store.views import ExternalState, ExternalView
from web.formats import as_sentence
from web.rendering import Page, model_address, render
from web.services import Store

router = APIRouter()

REFRESH_S = 3
MOST_RANGES = 40


class ExternalPage(Page):
    """An evaluation by others as it stands now."""

    template: ClassVar[str] = "external_evaluation.html"
    section: ClassVar[str] = "boards"

    view: ExternalView
    summary: str
    """Where it stands, in a sentence or two."""
    points: str
    """Positions of the points that are named, shortened where they are very many; empty where all are meant."""
    model_address: str

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.view.state is not ExternalState.QUEUED


def external_page(services: Services, external_id: str) -> ExternalPage:
    """Return what the page of an evaluation by others shows.

    Raises:
        NotFound: there is no such evaluation.
    """
    view = get_external(services.db, external_id)
    return ExternalPage(
        title=f"Examples for {view.model_id}",
        refresh_s=REFRESH_S if view.state is ExternalState.QUEUED else None,
        view=view,
        summary=summary(view),
        points=write_positions(view.submitted.points or (), MOST_RANGES),
        model_address=model_address(view.dataset, view.threat_model, view.model_id),
    )


@router.get("/external-evaluations/{external_id}")
def show_external(request: Request, external_id: str, store: Store) -> Response:
    """Show an evaluation by others."""
    return render(request, external_page(store, external_id))


def summary(view: ExternalView) -> str:
    """Say where the evaluation stands and, where it did not succeed, who is to blame."""
    match view.state:
        case ExternalState.QUEUED:
            return "The examples are still to be judged. You may close this page and come back."
        case ExternalState.VERIFIED | ExternalState.REFUSED:
            return view.reason
        case ExternalState.FAILED:
            reason = f" {as_sentence(view.reason)}" if view.reason else ""
            return f"The service failed, not your examples.{reason} Send them again; nothing was counted."
