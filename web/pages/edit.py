"""The form by which the owner of an entry says where its paper stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from fastapi import APIRouter, Request, Response
from starlette.responses import RedirectResponse

from benchmark.errors import GauntletError
from store.actors import Actor
from store.admission import LONGEST
from store.entries import Place
from store.entry_edits import edit_entry, editable_values
from store.services import Services
from web.forms import status_of, to_sign_in
from web.pages.error import Problem, problems_of
from web.rendering import Page, model_address, render
from web.services import Store, Who
from web.urlencoded import Fields, tried

router = APIRouter()

FIELDS: Mapping[str, int] = {"venue": LONGEST["venue"], "link": LONGEST["paper_url"]}


class EditPage(Page):
    """The form, with whatever was filled in and whatever is wrong with it."""

    template: ClassVar[str] = "edit.html"
    section: ClassVar[str] = "boards"

    model_id: str
    address: str
    longest: dict[str, int]
    values: dict[str, str]
    problems: dict[str, Problem]
    filename: str = ""


def edit_page(
    services: Services,
    who: Actor,
    place: Place,
    values: Mapping[str, str] | None = None,
    errors: Mapping[str, GauntletError] | None = None,
) -> EditPage:
    """Return the form; with what the entry says now where nothing was filled in.

    Raises:
        NotFound: there is no such board or entry.
        Forbidden: it is not theirs.
    """
    present = editable_values(services.db, who, place)
    model_id = place[2]
    return EditPage(
        title=f"Edit {model_id}",
        model_id=model_id,
        address=model_address(*place),
        longest=dict(FIELDS),
        values={field: (values or present).get(field, "") for field in FIELDS},
        problems=problems_of(errors),
    )


ADDRESS = "/models/{dataset}/{threat_model}/{model_id}/edit"


@router.get(ADDRESS)
def show_edit(request: Request, dataset: str, threat_model: str, model_id: str, *, store: Store, who: Who) -> Response:
    """Show the form, to those whose entry it is."""
    if who.account_id is None:
        return to_sign_in(request)
    return render(request, edit_page(store, who, (dataset, threat_model, model_id)))


@router.post(ADDRESS)
def post_edit(
    request: Request, dataset: str, threat_model: str, model_id: str, fields: Fields, *, store: Store, who: Who
) -> Response:
    """Change the entry and show it; or show the form again, with everything that was filled in."""
    place = (dataset, threat_model, model_id)
    errors = tried(lambda: edit_entry(store.db, who, place, venue=fields.get("venue"), link=fields.get("link")), FIELDS)
    if not errors:
        return RedirectResponse(model_address(*place), status_code=303)
    return render(request, edit_page(store, who, place, fields, errors), status_of(errors))
