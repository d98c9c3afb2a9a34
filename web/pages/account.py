"""The account of whoever is signed in: its data, its password, its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse

from benchmark.errors import Conflict, GauntletError
from store.account_rows import LONGEST_TEAM, AccountView
from store.accounts import change_password, delete_account, edit_account, get_account
from store.actors import Actor, Scope, require_account
from store.rates import Counted
from store.services import Services
from store.sign_in import begin_session, sign_out_everywhere
from web.forms import repeated_wrongly, status_of, to_sign_in
from web.pages.error import Problem, problems_of
from web.rendering import Page, render
from web.services import Client, Store, Who
from web.urlencoded import noted_at, read_fields

router = APIRouter()

DATA = ("email", "team")
PASSWORD = ("present_password", "password", "again")
DELETION = ("deletion_password",)


class AccountPage(Page):
    """An account as its owner sees it, with whatever was filled in and whatever is wrong with it."""

    template: ClassVar[str] = "account.html"
    section: ClassVar[str] = "account"
    filename: ClassVar[str] = ""

    account: AccountView
    administers: bool
    values: dict[str, str]
    problems: dict[str, Problem]
    longest_team: int


def account_page(
    services: Services,
    who: Actor,
    values: Mapping[str, str] | None = None,
    errors: Mapping[str, GauntletError] | None = None,
) -> AccountPage:
    """Return what the page of an account shows."""
    account = get_account(services.db, who)
    present = {"email": account.email or "", "team": account.team}
    return AccountPage(
        title="Your account",
        account=account,
        administers=who.administers,
        values={field: (values or present).get(field, "") for field in DATA},
        problems=problems_of(errors),
        longest_team=LONGEST_TEAM,
    )


@router.get("/account")
def show_account(request: Request, store: Store, who: Who) -> Response:
    """Show the account."""
    if who.account_id is None:
        return to_sign_in(request)
    return render(request, account_page(store, who))


@router.post("/account")
async def post_account(request: Request, store: Store, who: Who) -> Response:
    """Change the address and the team."""
    require_account(who, Scope.ACCOUNT)
    fields = await read_fields(request, DATA)
    try:
        await run_in_threadpool(lambda: edit_account(store.db, who, email=fields["email"], team=fields["team"]))
    except GauntletError as error:
        return await _again(request, store, who, noted_at(error, DATA, "email"), fields)
    return RedirectResponse("/account", status_code=303)


@router.post("/account/password")
async def post_password(request: Request, store: Store, who: Who, client: Client) -> Response:
    """Choose another password; all other browsers are signed out."""
    account_id = require_account(who, Scope.ACCOUNT)
    fields = await read_fields(request, PASSWORD)
    if fields["password"] != fields["again"]:
        return await _again(request, store, who, {"again": repeated_wrongly("again")})
    await run_in_threadpool(store.rates.spend, Counted.PASSWORD, account_id, client)
    try:
        await run_in_threadpool(change_password, store.db, who, fields["present_password"], fields["password"])
    except GauntletError as error:
        return await _again(request, store, who, noted_at(error, PASSWORD, "password"))
    request.state.signed_in = await run_in_threadpool(begin_session, store.db, account_id)
    return RedirectResponse("/account", status_code=303)


@router.post("/account/sign-out-everywhere")
def post_sign_out_everywhere(request: Request, store: Store, who: Who) -> Response:
    """End the sessions of all browsers, this one's included."""
    sign_out_everywhere(store.db, who)
    request.state.signed_in = None
    return RedirectResponse("/sign-in", status_code=303)


@router.post("/account/delete")
async def post_deletion(request: Request, store: Store, who: Who, client: Client) -> Response:
    """Delete the account."""
    account_id = require_account(who, Scope.ACCOUNT)
    fields = await read_fields(request, DELETION)
    await run_in_threadpool(store.rates.spend, Counted.PASSWORD, account_id, client)
    try:
        await run_in_threadpool(delete_account, store.db, who, fields["deletion_password"])
    except Conflict:
        raise
    except GauntletError as error:
        return await _again(request, store, who, {"deletion_password": error})
    request.state.signed_in = None
    return RedirectResponse("/", status_code=303)


async def _again(
    request: Request,
    services: Services,
    who: Actor,
    errors: Mapping[str, GauntletError],
    values: Mapping[str, str] | None = None,
) -> Response:
    page = await run_in_threadpool(account_page, services, who, values, errors)
    return render(request, page, status_of(errors))
