"""Unverified entries: the numbers of authors' own runs, for a while."""

from __future__ import annotations

from urllib.parse import quote

from fastapi import APIRouter, Request, Response

from api.entry_schemas import UnverifiedRequest
from api.errors import responses
from api.services import Store, Who
from store.boards import get_model
from store.unverified import add_unverified, remove_unverified
from store.views import ModelView

router = APIRouter(prefix="/leaderboards", tags=["unverified entries"])

UNVERIFIED = "/{dataset}/{threat_model}/unverified"


@router.post(UNVERIFIED, status_code=201, responses=responses(400, 401, 403, 404, 409, 503))
def post_unverified(
    dataset: str,
    threat_model: str,
    body: UnverifiedRequest,
    *,
    request: Request,
    response: Response,
    store: Store,
    who: Who,
) -> ModelView:
    """Enter the numbers of your own run of AutoAttack; it bears a badge, has no rank, and ends by itself."""
    place = add_unverified(store.db, who, (dataset, threat_model), body.as_new(), days=store.unverified_days)
    address = request.url_for("read_model", dataset=place[0], threat_model=place[1], model_id=place[2])
    response.headers["Location"] = quote(address.path)
    return get_model(store.db, store.blobs, *place)


@router.delete(f"{UNVERIFIED}/{{model_id}}", status_code=204, responses=responses(401, 403, 404, 409))
def delete_unverified(dataset: str, threat_model: str, model_id: str, store: Store, who: Who) -> None:
    """Remove an unverified entry of yours; maintainers may remove any."""
    remove_unverified(store.db, who, (dataset, threat_model, model_id))
