"""Making an account for oneself, where the service lets people do so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse

from benchmark.errors import GauntletError, NotFound
from store.account_rows import LONGEST_TEAM
from store.accounts import NewAccount, register
from store.rates import Counted
from store.services import Services
from store.sign_in import begin_session
from web.forms import repeated_wrongly, status_of
from web.pages.error import Problem, problems_of
from web.rendering import Page, render
from web.services import Client, Store, Who
from web.urlencoded import noted_at, read_fields

router = APIRouter()

FIELDS = ("name", "email", "team", "password", "again")


class RegisterPage(Page):
    """The form, with everything that was filled in but the password."""

    template: ClassVar[str] = "register.html"
    section: ClassVar[str] = "account"
    filename: ClassVar[str] = ""

    values: dict[str, str]
    problems: dict[str, Problem]
    longest_team: int


def register_page(values: Mapping[str, str], errors: Mapping[str, GauntletError] | None = None) -> RegisterPage:
    """Return the form."""
    kept = {field: values.get(field, "") for field in ("name", "email", "team")}
    return RegisterPage(title="Make an account", values=kept, problems=problems_of(errors), longest_team=LONGEST_TEAM)


@router.get("/register")
def show_register(request: Request, store: Store, who: Who) -> Response:
    """Show the empty form."""
    _require_open(store)
    if who.account_id is not None:
        return RedirectResponse("/account", status_code=303)
    return render(request, register_page({}))


@router.post("/register")
async def post_register(request: Request, store: Store, client: Client) -> Response:
    """Make an account and sign in; or show the form again."""
    _require_open(store)
    fields = await read_fields(request, FIELDS)
    if fields["password"] != fields["again"]:
        page = register_page(fields, {"again": repeated_wrongly("again")})
        return render(request, page, 422)
    await run_in_threadpool(store.rates.spend, Counted.REGISTER, client)
    new = NewAccount(name=fields["name"], password=fields["password"], email=fields["email"], team=fields["team"])
    try:
        account = await run_in_threadpool(register, store.db, new)
    except GauntletError as error:
        errors = noted_at(error, FIELDS, "name")
        return render(request, register_page(fields, errors), status_of(errors))
    request.state.signed_in = await run_in_threadpool(begin_session, store.db, account.id)
    return RedirectResponse("/account", status_code=303)


def _require_open(services: Services) -> None:
    if not services.registration:
        raise NotFound.because(
            "registration", found="closed on this service", expected="an invitation",
            remedy="ask an administrator of this service for one",
        )  # fmt: skip
