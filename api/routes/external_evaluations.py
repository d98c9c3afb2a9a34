"""Evaluations by others: adversarial examples for an entry, sent in and judged here."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from api.errors import responses
from api.routes.models import MODEL
from api.schemas import ExternalList, ExternalRequest
from api.services import Client, Store, Who
from store.actors import require_sender
from store.externals import get_external, list_externals, submit_external
from store.rates import Counted
from store.submitters import submitter_of
from store.views import ExternalView

router = APIRouter(tags=["external evaluations"])

OF_ENTRY = f"/models{MODEL}/external-evaluations"
MOST_LISTED = 100
"""Each may name every point of its board."""

ExternalId = Annotated[str, Path(max_length=100, description="Id that the evaluation got when it was received")]


@router.post(OF_ENTRY, status_code=201, responses=responses(400, 401, 403, 404, 409, 429, 503))
def post_external(
    dataset: str,
    threat_model: str,
    model_id: str,
    body: ExternalRequest,
    *,
    request: Request,
    response: Response,
    store: Store,
    who: Who,
    client: Client,
) -> ExternalView:
    """Send adversarial examples in that were uploaded before; what comes of them is at the address in Location.

    The file holds one image for each of the points that are named, in their order, or for each of the board's. Every
    one is judged here: it must be in [0, 1], within the budget, and misclassified.
    """
    require_sender(who)
    store.rates.spend(Counted.EXTERNAL, who.submitter or client)
    submitter = submitter_of(store.db, who, client)
    place = (dataset, threat_model, model_id)
    view = submit_external(store.db, store.blobs, place, body.as_new(), store.admission, submitter=submitter)
    response.headers["Location"] = request.url_for("read_external", external_id=view.id).path
    return view


@router.get(OF_ENTRY, responses=responses(404))
def read_externals(
    dataset: str,
    threat_model: str,
    model_id: str,
    store: Store,
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED, description="Most evaluations to return")] = MOST_LISTED,
) -> ExternalList:
    """List an entry's evaluations by others, the latest first."""
    found = list_externals(store.db, (dataset, threat_model, model_id), limit)
    return ExternalList(external_evaluations=found)


@router.get("/external-evaluations/{external_id}", responses=responses(404))
def read_external(external_id: ExternalId, store: Store) -> ExternalView:
    """Return an evaluation by others with what came of it."""
    return get_external(store.db, external_id)
