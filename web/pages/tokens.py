"""The tokens of an account: made, shown once, listed, revoked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse

from benchmark.errors import GauntletError, InvalidInput
from store.actors import Actor, Scope, require_account
from store.rates import Counted
from store.services import Services
from store.sign_in import TokenView, create_token, list_tokens, revoke_token
from web.forms import status_of, to_sign_in
from web.pages.error import Problem, problems_of
from web.rendering import Page, render
from web.services import Store, Who
from web.urlencoded import noted_at, read_fields

router = APIRouter()

SCOPES: Mapping[Scope, str] = {
    Scope.READ: "see what only you may see",
    Scope.SUBMIT: "upload, submit, cancel and withdraw",
    Scope.MODERATE: "decide about what others have sent, as far as your account may",
    Scope.ACCOUNT: "change the account itself and make more tokens",
}
FIELDS = ("name", "days", *SCOPES)


class TokensPage(Page):
    """The tokens, and the form for another one; right after it was made, its secret."""

    template: ClassVar[str] = "tokens.html"
    section: ClassVar[str] = "account"
    filename: ClassVar[str] = ""

    tokens: tuple[TokenView, ...]
    scopes: dict[str, str]
    secret: str
    """Of the token that was made just now; empty where none was."""
    values: dict[str, str]
    problems: dict[str, Problem]


def tokens_page(
    services: Services,
    who: Actor,
    values: Mapping[str, str] | None = None,
    errors: Mapping[str, GauntletError] | None = None,
    secret: str = "",
) -> TokensPage:
    """Return what the page of the tokens shows."""
    empty = {"name": "", "days": "90", Scope.READ: "on", Scope.SUBMIT: "on"}
    offered = {scope.value: words for scope, words in SCOPES.items() if scope is not Scope.MODERATE or who.moderates}
    return TokensPage(
        title="Tokens",
        tokens=list_tokens(services.db, who),
        scopes=offered,
        secret=secret,
        values={str(field): (values or empty).get(field, "") for field in FIELDS},
        problems=problems_of(errors),
    )


@router.get("/account/tokens")
def show_tokens(request: Request, store: Store, who: Who) -> Response:
    """Show the tokens."""
    if who.account_id is None:
        return to_sign_in(request)
    return render(request, tokens_page(store, who))


@router.post("/account/tokens")
async def post_token(request: Request, store: Store, who: Who) -> Response:
    """Make a token and show it, this once; or show the form again."""
    require_account(who, Scope.READ)  # the answer lists all tokens: without it one would be made and never shown
    account_id = require_account(who, Scope.ACCOUNT)
    fields = await read_fields(request, FIELDS)
    await run_in_threadpool(store.rates.spend, Counted.TOKEN, account_id)
    try:
        scopes = [scope for scope in SCOPES if fields[scope]]
        _, secret = await run_in_threadpool(create_token, store.db, who, fields["name"], scopes, _days(fields["days"]))
    except GauntletError as error:
        errors = noted_at(error, ("name", "days", "scopes"), "name")
        page = await run_in_threadpool(tokens_page, store, who, fields, errors)
        return render(request, page, status_of(errors))
    page = await run_in_threadpool(tokens_page, store, who, None, None, secret)
    response = render(request, page)
    response.headers["Cache-Control"] = "no-store"
    return response


@router.post("/account/tokens/{token_id}/revoke")
def post_revocation(token_id: str, store: Store, who: Who) -> Response:
    """Revoke a token and show the others."""
    revoke_token(store.db, who, token_id)
    return RedirectResponse("/account/tokens", status_code=303)


def _days(text: str) -> int | None:
    """Return what was typed: an empty field is a token that never ends."""
    text = text.strip()
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 4):
        raise InvalidInput.because(
            "days", found=ascii(text[:40]), expected="a number of days", remedy="give 1 to 365, or leave it empty"
        )
    return int(text)
