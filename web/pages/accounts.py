"""All accounts, for administrators: who is invited, trusted and shut out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse

from benchmark.errors import GauntletError, InvalidInput
from store.account_links import new_link
from store.account_rows import AccountView
from store.actors import Actor, Role, require_admin
from store.administration import invite, list_accounts, set_account
from store.rates import Counted
from store.services import Services
from web.forms import status_of, to_sign_in
from web.pages.error import Problem, problems_of
from web.rendering import Page, render
from web.services import Store, Who
from web.urlencoded import noted_at, read_fields

router = APIRouter()

INVITATION = ("name", "role")


class AccountsPage(Page):
    """The accounts, and the form for another one; right after one was made, the link of its owner."""

    template: ClassVar[str] = "accounts.html"
    section: ClassVar[str] = "account"
    filename: ClassVar[str] = ""

    accounts: tuple[AccountView, ...]
    roles: tuple[Role, ...]
    link: str
    """That was made just now; empty where none was."""
    link_name: str
    """Whose it is."""
    values: dict[str, str]
    problems: dict[str, Problem]


def accounts_page(
    services: Services,
    who: Actor,
    values: Mapping[str, str] | None = None,
    errors: Mapping[str, GauntletError] | None = None,
    link: tuple[str, str] = ("", ""),
) -> AccountsPage:
    """Return what the page of all accounts shows.

    Raises:
        Forbidden: they are no administrator.
    """
    return AccountsPage(
        title="Accounts",
        accounts=list_accounts(services.db, who),
        roles=tuple(Role),
        link_name=link[0],
        link=link[1],
        values={"name": "", "role": Role.SUBMITTER.value} | dict(values or {}),
        problems=problems_of(errors),
    )


@router.get("/accounts")
def show_accounts(request: Request, store: Store, who: Who) -> Response:
    """Show the accounts."""
    if who.account_id is None:
        return to_sign_in(request)
    return render(request, accounts_page(store, who))


@router.post("/accounts")
async def post_invitation(request: Request, store: Store, who: Who) -> Response:
    """Invite somebody and show the link, this once; or show the form again."""
    admin = require_admin(who)
    fields = await read_fields(request, INVITATION)
    await run_in_threadpool(store.rates.spend, Counted.LINK, admin)
    try:
        account, secret = await run_in_threadpool(invite, store.db, who, fields["name"], _role(fields["role"]))
    except GauntletError as error:
        errors = noted_at(error, INVITATION, "name")
        page = await run_in_threadpool(accounts_page, store, who, fields, errors)
        return render(request, page, status_of(errors))
    return await run_in_threadpool(_with_link, request, store, who, account.name, secret)


@router.post("/accounts/{name}/link")
def post_link(request: Request, name: str, store: Store, who: Who) -> Response:
    """Make a new link and show it, this once."""
    store.rates.spend(Counted.LINK, require_admin(who))
    return _with_link(request, store, who, name, new_link(store.db, who, name))


@router.post("/accounts/{name}/role")
async def post_role(request: Request, name: str, store: Store, who: Who) -> Response:
    """Trust an account with something else."""
    require_admin(who)
    fields = await read_fields(request, ("role",))
    await run_in_threadpool(lambda: set_account(store.db, who, name, role=_role(fields["role"])))
    return RedirectResponse("/accounts", status_code=303)


@router.post("/accounts/{name}/disable")
def post_disable(name: str, store: Store, who: Who) -> Response:
    """Shut an account out."""
    set_account(store.db, who, name, disabled=True)
    return RedirectResponse("/accounts", status_code=303)


@router.post("/accounts/{name}/enable")
def post_enable(name: str, store: Store, who: Who) -> Response:
    """Let an account in again."""
    set_account(store.db, who, name, disabled=False)
    return RedirectResponse("/accounts", status_code=303)


def _with_link(request: Request, services: Services, who: Actor, name: str, secret: str) -> Response:
    address = f"{request.base_url}welcome?link={secret}"
    response = render(request, accounts_page(services, who, link=(name, address)))
    response.headers["Cache-Control"] = "no-store"
    return response


def _role(text: str) -> Role:
    try:
        return Role(text)
    except ValueError:
        raise InvalidInput.because(
            "role", found=ascii(text[:40]), expected=f"one of {', '.join(Role)}", remedy="choose one of them"
        ) from None
