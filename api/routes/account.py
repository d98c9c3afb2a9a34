"""The account that asks: its data, its password, its tokens."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from api.account_schemas import AccountDeletion, AccountEdit, NewToken, PasswordChange, TokenList, TokenRequest
from api.errors import responses
from api.services import Client, Store, Who
from store.account_rows import AccountView
from store.accounts import change_password, delete_account, edit_account, get_account
from store.actors import Scope, require_account
from store.rates import Counted
from store.sign_in import TokenView, begin_session, create_token, list_tokens, revoke_token

router = APIRouter(prefix="/account", tags=["account"])

TokenId = Annotated[str, Path(max_length=100, description="Id that the token got when it was made; not the token")]


@router.get("", responses=responses(401, 403))
def read_account(store: Store, who: Who) -> AccountView:
    """Return the account that asks."""
    return get_account(store.db, who)


@router.patch("", responses=responses(400, 401, 403, 409))
def patch_account(body: AccountEdit, store: Store, who: Who) -> AccountView:
    """Change the address and the team of the account that asks; a token needs the scope account for it."""
    return edit_account(store.db, who, email=body.email, team=body.team)


@router.delete("", status_code=204, responses=responses(400, 401, 403, 409, 429, 503))
def delete_own_account(body: AccountDeletion, request: Request, store: Store, who: Who, client: Client) -> None:
    """Delete the account that asks; what it has published stays, what waits is cancelled."""
    store.rates.spend(Counted.PASSWORD, require_account(who, Scope.ACCOUNT), client)
    delete_account(store.db, who, body.password)
    if request.state.session is not None:
        request.state.signed_in = None


@router.post("/password", status_code=204, responses=responses(400, 401, 403, 429, 503))
def post_password(body: PasswordChange, request: Request, store: Store, who: Who, client: Client) -> None:
    """Choose another password; every browser but the one that asks is signed out, tokens stay."""
    account_id = require_account(who, Scope.ACCOUNT)
    store.rates.spend(Counted.PASSWORD, account_id, client)
    change_password(store.db, who, body.present_password, body.password)
    if request.state.session is not None:
        request.state.signed_in = begin_session(store.db, account_id)


@router.get("/tokens", responses=responses(401, 403))
def read_tokens(store: Store, who: Who) -> TokenList:
    """List the tokens of the account that asks, without their secrets."""
    return TokenList(tokens=list_tokens(store.db, who))


@router.post("/tokens", status_code=201, responses=responses(400, 401, 403, 409, 429))
def post_token(body: TokenRequest, response: Response, store: Store, who: Who) -> NewToken:
    """Make a token; its secret is in this answer and nowhere else."""
    store.rates.spend(Counted.TOKEN, require_account(who, Scope.ACCOUNT))
    token, secret = create_token(store.db, who, body.name, body.scopes, body.days)
    response.headers["Cache-Control"] = "no-store"
    return NewToken(token=token, secret=secret)


@router.delete("/tokens/{token_id}", responses=responses(401, 403, 404))
def delete_token(token_id: TokenId, store: Store, who: Who) -> TokenView:
    """Revoke a token at once."""
    return revoke_token(store.db, who, token_id)
