"""Claims: the form on which somebody makes one, and the list where maintainers answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict
from starlette.responses import RedirectResponse

from benchmark.errors import GauntletError
from store.actors import Actor
from store.boards import get_model
from store.entries import Place
from store.entry_claims import (
    LONGEST_MESSAGE,
    LONGEST_REMARK,
    LONGEST_SOURCE,
    Answer,
    ClaimKind,
    ClaimState,
    ClaimView,
    Correction,
    accept_claim,
    decline_claim,
    file_claim,
    list_claims,
)
from store.services import Services
from web.forms import status_of, to_sign_in
from web.pages.error import Problem, problems_of
from web.rendering import Page, model_address, render
from web.services import Store, Who
from web.urlencoded import Fields, number_in, tried

router = APIRouter()

FIELDS: Mapping[str, int] = {"kind": 20, "message": LONGEST_MESSAGE}
ANSWERS: Mapping[str, int] = {
    "reply": LONGEST_MESSAGE,
    "remark": LONGEST_REMARK,
    "robust_accuracy": 20,
    "source": LONGEST_SOURCE,
}


class ClaimFormPage(Page):
    """The form, with whatever was filled in and whatever is wrong with it."""

    template: ClassVar[str] = "claim.html"
    section: ClassVar[str] = "boards"

    model_id: str
    address: str
    longest: dict[str, int]
    values: dict[str, str]
    problems: dict[str, Problem]
    filename: str = ""


class ClaimLine(BaseModel):
    """A claim in the list, and the address of its entry."""

    model_config = ConfigDict(frozen=True)

    view: ClaimView
    address: str


class ClaimsPage(Page):
    """Claims with their answers; those that are open first."""

    template: ClassVar[str] = "claims.html"

    lines: tuple[ClaimLine, ...]
    moderates: bool
    longest: dict[str, int]
    values: dict[str, str]
    answered: str
    """Id of the claim whose answer was refused; empty where none was."""
    problems: dict[str, Problem]
    filename: str = ""


def claim_form_page(
    services: Services,
    place: Place,
    values: Mapping[str, str],
    errors: Mapping[str, GauntletError] | None = None,
) -> ClaimFormPage:
    """Return the form.

    Raises:
        NotFound: there is no such board or entry.
    """
    row = get_model(services.db, services.blobs, *place).row
    return ClaimFormPage(
        title=f"Claim {row.model_id}",
        model_id=row.model_id,
        address=model_address(*place),
        longest=dict(FIELDS),
        values={field: values.get(field, "") for field in FIELDS},
        problems=problems_of(errors),
    )


def claims_page(
    services: Services,
    who: Actor,
    answered: str = "",
    values: Mapping[str, str] | None = None,
    errors: Mapping[str, GauntletError] | None = None,
) -> ClaimsPage:
    """Return the claims that somebody may see, those that are open first, and of these the newest."""
    waiting = list_claims(services.db, who, ClaimState.OPEN)
    views = [*waiting, *(view for view in list_claims(services.db, who) if view.state is not ClaimState.OPEN)]
    return ClaimsPage(
        title="Claims",
        lines=tuple(
            ClaimLine(view=view, address=model_address(view.dataset, view.threat_model, view.model_id))
            for view in views
        ),
        moderates=who.moderates,
        longest=dict(ANSWERS),
        values={field: (values or {}).get(field, "") for field in ANSWERS},
        answered=answered,
        problems=problems_of(errors),
    )


ADDRESS = "/models/{dataset}/{threat_model}/{model_id}/claim"


@router.get(ADDRESS)
def show_claim_form(
    request: Request, dataset: str, threat_model: str, model_id: str, *, store: Store, who: Who
) -> Response:
    """Show the empty form, to those with an account."""
    if who.account_id is None:
        return to_sign_in(request)
    return render(request, claim_form_page(store, (dataset, threat_model, model_id), {}))


@router.post(ADDRESS)
def post_claim(
    request: Request, dataset: str, threat_model: str, model_id: str, fields: Fields, *, store: Store, who: Who
) -> Response:
    """Make the claim and show the list; or show the form again, with everything that was filled in."""
    place = (dataset, threat_model, model_id)
    kind = ClaimKind.DISPUTE if fields.get("kind") == ClaimKind.DISPUTE else ClaimKind.CLAIM
    errors = tried(lambda: file_claim(store.db, who, place, kind, fields.get("message", "")), FIELDS)
    if not errors:
        return RedirectResponse("/claims", status_code=303)
    return render(request, claim_form_page(store, place, fields, errors), status_of(errors))


@router.get("/claims")
def show_claims(request: Request, store: Store, who: Who) -> Response:
    """Show one's claims, or to maintainers everybody's."""
    if who.account_id is None:
        return to_sign_in(request)
    return render(request, claims_page(store, who))


@router.post("/claims/{claim_id}/accept")
def post_accept(request: Request, claim_id: str, fields: Fields, store: Store, who: Who) -> Response:
    """Agree to a claim; or show the list again, with everything that was filled in."""

    def accept() -> None:
        given = {field: fields.get(field, "").strip() for field in ANSWERS}
        corrected = given["robust_accuracy"] or given["source"]
        correction = (
            Correction(robust_accuracy=number_in(fields, "robust_accuracy"), source=given["source"])
            if corrected
            else None
        )
        answer = Answer(reply=given["reply"], remark=given["remark"], correction=correction)
        accept_claim(store.db, who, claim_id, answer)

    errors = tried(accept, ANSWERS)
    if not errors:
        return RedirectResponse("/claims", status_code=303)
    return render(request, claims_page(store, who, claim_id, fields, errors), status_of(errors))


@router.post("/claims/{claim_id}/decline")
def post_decline(request: Request, claim_id: str, fields: Fields, store: Store, who: Who) -> Response:
    """Turn a claim down; or show the list again, with everything that was filled in."""
    errors = tried(lambda: decline_claim(store.db, who, claim_id, fields.get("reply", "")), ANSWERS)
    if not errors:
        return RedirectResponse("/claims", status_code=303)
    return render(request, claims_page(store, who, claim_id, fields, errors), status_of(errors))
