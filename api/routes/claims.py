"""Claims: an account says that a reported entry is its own, or that it is wrong, and a maintainer answers."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from api.entry_schemas import AcceptRequest, ClaimList, ClaimRequest, DeclineRequest
from api.errors import responses
from api.routes.models import MODEL
from api.services import Store, Who
from store.entry_claims import (
    MOST_LISTED,
    ClaimState,
    ClaimView,
    accept_claim,
    decline_claim,
    file_claim,
    list_claims,
)

router = APIRouter(tags=["claims"])

ClaimId = Annotated[str, Path(max_length=100, description="Id that the claim got when it was made")]


@router.post(f"/models{MODEL}/claims", status_code=201, responses=responses(400, 401, 403, 404, 409, 503))
def post_claim(
    dataset: str, threat_model: str, model_id: str, body: ClaimRequest, *, store: Store, who: Who
) -> ClaimView:
    """Claim a reported entry as your own, or dispute it."""
    return file_claim(store.db, who, (dataset, threat_model, model_id), body.kind, body.message)


@router.get("/claims", responses=responses(401, 403))
def read_claims(
    store: Store,
    who: Who,
    state: Annotated[ClaimState | None, Query(description="Only those that stand so")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED, description="Most claims to return")] = MOST_LISTED,
) -> ClaimList:
    """List your claims, or as a maintainer everybody's, the latest first."""
    return ClaimList(claims=list_claims(store.db, who, state, limit))


@router.post("/claims/{claim_id}/accept", responses=responses(400, 401, 403, 404, 409))
def post_accept(claim_id: ClaimId, body: AcceptRequest, store: Store, who: Who) -> ClaimView:
    """Agree to a claim: the entry is the account's from then on; a disputed one bears a remark, maybe a new number."""
    return accept_claim(store.db, who, claim_id, body.as_answer())


@router.post("/claims/{claim_id}/decline", responses=responses(400, 401, 403, 404, 409))
def post_decline(claim_id: ClaimId, body: DeclineRequest, store: Store, who: Who) -> ClaimView:
    """Turn a claim down, and say why."""
    return decline_claim(store.db, who, claim_id, body.reply)
