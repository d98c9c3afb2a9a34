"""Signing in with a name and a password, and signing out."""

from __future__ import annotations

from typing import ClassVar

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse

from store.errors import QueueFull
from store.rates import Counted
from store.services import Services
from store.sign_in import WrongPassword, sign_in, sign_out
from web.forms import place_on_site
from web.pages.error import Problem, problems_of
from web.rendering import Page, render
from web.services import Client, Store, Who
from web.urlencoded import read_fields

router = APIRouter()

FIELDS = ("name", "password", "next")


class SignInPage(Page):
    """The form, with the name that was typed."""

    template: ClassVar[str] = "sign_in.html"
    section: ClassVar[str] = "account"
    filename: ClassVar[str] = ""

    values: dict[str, str]
    problems: dict[str, Problem]
    registration: bool


def sign_in_page(services: Services, name: str, target: str, problems: dict[str, Problem] | None = None) -> SignInPage:
    """Return the form."""
    values = {"name": name, "next": place_on_site(target)}
    return SignInPage(title="Sign in", values=values, problems=problems or {}, registration=services.registration)


@router.get("/sign-in")
def show_sign_in(request: Request, store: Store, who: Who, next: str = "/") -> Response:  # noqa: A002 - its name there
    """Show the form; whoever is signed in goes on at once."""
    if who.account_id is not None:
        return RedirectResponse(place_on_site(next), status_code=303)
    return render(request, sign_in_page(store, "", next))


@router.post("/sign-in")
async def post_sign_in(request: Request, store: Store, client: Client) -> Response:
    """Sign somebody in, under a new session; one that the browser had before ends."""
    fields = await read_fields(request, FIELDS)
    name = fields["name"].strip().lower()
    await run_in_threadpool(store.rates.spend, Counted.SIGN_IN, client, f"name {name[:80]}")
    try:
        secret = await run_in_threadpool(sign_in, store.db, name, fields["password"])
    except (WrongPassword, QueueFull) as error:
        page = sign_in_page(store, fields["name"], fields["next"], problems_of({"password": error}))
        return render(request, page, 422 if isinstance(error, WrongPassword) else 503)
    if request.state.session is not None:
        await run_in_threadpool(sign_out, store.db, request.state.session)
    request.state.signed_in = secret
    return RedirectResponse(place_on_site(fields["next"]), status_code=303)


@router.post("/sign-out")
def post_sign_out(request: Request, store: Store) -> Response:
    """End the session of this browser."""
    if request.state.session is not None:
        sign_out(store.db, request.state.session)
    request.state.signed_in = None
    return RedirectResponse("/", status_code=303)
