"""The page of a link that lets somebody in once: to look at it uses nothing up, to choose a password does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse

from benchmark.errors import GauntletError, NotFound
from store.account_links import account_of_link, choose_password_by_link
from store.account_rows import AccountView
from store.rates import Counted
from store.sign_in import begin_session
from web.forms import repeated_wrongly, status_of
from web.pages.error import Problem, problems_of
from web.rendering import Page, render
from web.services import Client, Store
from web.urlencoded import noted_at, read_fields

router = APIRouter()

FIELDS = ("link", "password", "again")


class WelcomePage(Page):
    """The form, for the owner of the link."""

    template: ClassVar[str] = "welcome.html"
    section: ClassVar[str] = "account"
    filename: ClassVar[str] = ""

    name: str
    link: str
    fresh: bool
    """Whether the account never had a password."""
    problems: dict[str, Problem]


def welcome_page(account: AccountView, link: str, errors: Mapping[str, GauntletError] | None = None) -> WelcomePage:
    """Return the form."""
    return WelcomePage(
        title="Choose a password",
        name=account.name,
        link=link,
        fresh=not account.has_password,
        problems=problems_of(errors),
    )


@router.get("/welcome")
def show_welcome(request: Request, store: Store, link: str = "") -> Response:
    """Show the form; browsers and programs may look at it ahead of their owner."""
    return _private(render(request, welcome_page(account_of_link(store.db, link), link)))


@router.post("/welcome")
async def post_welcome(request: Request, store: Store, client: Client) -> Response:
    """Use the link up and sign its owner in; or show the form again."""
    fields = await read_fields(request, FIELDS)
    await run_in_threadpool(store.rates.spend, Counted.LINK, client)
    errors: Mapping[str, GauntletError]
    try:
        if fields["password"] != fields["again"]:
            raise repeated_wrongly("again")
        account = await run_in_threadpool(choose_password_by_link, store.db, fields["link"], fields["password"])
    except NotFound:
        raise
    except GauntletError as error:
        errors = noted_at(error, FIELDS, "password")
        account = await run_in_threadpool(account_of_link, store.db, fields["link"])
        return _private(render(request, welcome_page(account, fields["link"], errors), status_of(errors)))
    request.state.signed_in = await run_in_threadpool(begin_session, store.db, account.id)
    return RedirectResponse("/account", status_code=303)


def _private(response: Response) -> Response:
    """Keep the address, which holds the link's secret, from everybody whom the page asks for anything."""
    # Not "no-referrer": then browsers would not say, with the form, from which site it was sent.
    response.headers["Referrer-Policy"] = "strict-origin"
    response.headers["Cache-Control"] = "no-store"
    return response
