"""The form for an unverified entry, and the button that removes one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from fastapi import APIRouter, Request, Response
from starlette.responses import RedirectResponse

from benchmark.errors import Conflict, GauntletError
from benchmark.threat_models import official_board
from store.actors import Scope
from store.services import Services
from store.unverified import LONGEST_TEXTS, NewUnverified, add_unverified, remove_unverified
from store.views import ExtraData
from web.forms import status_of, to_sign_in
from web.pages.error import Problem, problems_of
from web.rendering import Page, board_address, model_address, render
from web.services import Store, Who
from web.urlencoded import Fields, number_in, tried

router = APIRouter()

NUMBERS = ("standard_accuracy", "robust_accuracy")
FIELDS: Mapping[str, int] = {"name": 80, **LONGEST_TEXTS, "extra_data": 20, **dict.fromkeys(NUMBERS, 20)}


class UnverifiedPage(Page):
    """The form, with whatever was filled in and whatever is wrong with it."""

    template: ClassVar[str] = "unverified.html"
    section: ClassVar[str] = "boards"

    board_title: str
    address: str
    """Of the board."""
    epsilon: str
    days: int
    kinds: tuple[ExtraData, ...]
    longest: dict[str, int]
    values: dict[str, str]
    problems: dict[str, Problem]
    filename: str = ""


def unverified_page(
    services: Services,
    dataset: str,
    threat_model: str,
    values: Mapping[str, str],
    errors: Mapping[str, GauntletError] | None = None,
) -> UnverifiedPage:
    """Return the form.

    Raises:
        NotFound: there is no such board.
        Conflict: nobody attacks there.
    """
    board = official_board(dataset, threat_model)
    if board.epsilon is None:
        raise Conflict.because(
            "threat_model", found=board.name, expected="a board with an attacker",
            remedy="choose such a board: AutoAttack says nothing of this one",
        )  # fmt: skip
    return UnverifiedPage(
        title=f"Your own run · {board.title}",
        board_title=board.title,
        address=board_address(dataset, threat_model),
        epsilon=str(board.epsilon),
        days=services.unverified_days,
        kinds=tuple(ExtraData),
        longest=dict(FIELDS),
        values={field: values.get(field, "") for field in FIELDS},
        problems=problems_of(errors),
    )


ADDRESS = "/boards/{dataset}/{threat_model}/unverified"


@router.get(ADDRESS)
def show_unverified_form(request: Request, dataset: str, threat_model: str, store: Store, who: Who) -> Response:
    """Show the empty form, to those with an account."""
    page = unverified_page(store, dataset, threat_model, {"extra_data": ExtraData.UNKNOWN.value})
    return to_sign_in(request) if who.account_id is None else render(request, page)


@router.post(ADDRESS)
def post_unverified(
    request: Request, dataset: str, threat_model: str, fields: Fields, *, store: Store, who: Who
) -> Response:
    """Put the entry on its board; or show the form again, with everything that was filled in."""
    places: list[tuple[str, str, str]] = []

    def add() -> None:
        texts = {field: fields.get(field, "") for field in ("name", *LONGEST_TEXTS)}
        kind = fields.get("extra_data", "")
        extra = ExtraData(kind) if kind in set(ExtraData) else ExtraData.UNKNOWN
        new = NewUnverified(
            **texts,
            extra_data=extra,
            standard_accuracy=number_in(fields, "standard_accuracy"),
            robust_accuracy=number_in(fields, "robust_accuracy"),
        )
        places.append(add_unverified(store.db, who, (dataset, threat_model), new, days=store.unverified_days))

    if who.account_id is None or Scope.SUBMIT not in who.scopes:
        return to_sign_in(request)
    errors = tried(add, FIELDS)
    if places:
        return RedirectResponse(model_address(*places[0]), status_code=303)
    return render(request, unverified_page(store, dataset, threat_model, fields, errors), status_of(errors))


@router.post("/models/{dataset}/{threat_model}/{model_id}/remove")
def post_remove(dataset: str, threat_model: str, model_id: str, store: Store, who: Who) -> Response:
    """Remove an unverified entry, and show its board."""
    remove_unverified(store.db, who, (dataset, threat_model, model_id))
    return RedirectResponse(board_address(dataset, threat_model), status_code=303)
