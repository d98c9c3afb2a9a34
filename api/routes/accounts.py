"""Accounts: made by those who register, and by administrators, who also decide about them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from api.account_schemas import AccountChange, AccountList, AccountRequest, Link, NewAccountAnswer
from api.errors import responses
from api.services import Client, Store, Who
from benchmark.errors import InvalidInput
from store.account_links import new_link
from store.account_rows import AccountView
from store.accounts import NewAccount, register
from store.actors import Actor, Role, require_admin, require_registration
from store.administration import invite, list_accounts, set_account
from store.rates import Counted
from store.services import Services

router = APIRouter(prefix="/accounts", tags=["accounts"])

Name = Annotated[str, Path(max_length=100, description="What the owner of the account signs in with")]


@router.post(
    "",
    status_code=201,
    responses=responses(400, 401, 403, 409, 429, 503),
    openapi_extra={"security": [{}]},  # besides the others: whoever registers has none of them yet
)
def post_account(
    body: AccountRequest, *, request: Request, response: Response, store: Store, who: Who, client: Client
) -> NewAccountAnswer:
    """Register, where the service lets people do so; or, as an administrator, invite somebody.

    Whoever registers sends a password, and signs in with it on the page /sign-in. Whoever invites sends a role instead,
    and passes the link on that is in the answer.
    """
    response.headers["Cache-Control"] = "no-store"
    if body.role is not None:
        return _invite(store, who, body, body.role, request)
    if body.password is None:
        raise InvalidInput.because(
            "password", found="nothing", expected="a password, or a role to invite somebody to",
            remedy="add password, or role if you are an administrator",
        )  # fmt: skip
    require_registration(store.registration)
    store.rates.spend(Counted.REGISTER, client)
    new = NewAccount(name=body.name, password=body.password, email=body.email, team=body.team)
    return NewAccountAnswer(account=register(store.db, new), link=None)


def _invite(store: Services, who: Actor, body: AccountRequest, role: Role, request: Request) -> NewAccountAnswer:
    admin = require_admin(who)
    if body.password is not None or body.email or body.team:
        raise InvalidInput.because(
            "role", found="a role beside a password, address or team", expected="name and role alone",
            remedy="leave the rest to whoever is invited",
        )  # fmt: skip
    store.rates.spend(Counted.LINK, admin)
    account, secret = invite(store.db, who, body.name, role)
    return NewAccountAnswer(account=account, link=_address(request, secret))


@router.get("", responses=responses(401, 403))
def read_accounts(store: Store, who: Who) -> AccountList:
    """List all accounts; for administrators."""
    return AccountList(accounts=list_accounts(store.db, who))


@router.patch("/{name}", responses=responses(400, 401, 403, 404, 409))
def patch_other_account(name: Name, body: AccountChange, store: Store, who: Who) -> AccountView:
    """Change what an account is trusted with, or shut it out; for administrators."""
    return set_account(store.db, who, name, role=body.role, disabled=body.disabled)


@router.post("/{name}/link", responses=responses(401, 403, 404, 429))
def post_link(name: Name, request: Request, response: Response, store: Store, who: Who) -> Link:
    """Make a link by which the owner of an account chooses a new password; older links end. For administrators."""
    store.rates.spend(Counted.LINK, require_admin(who))
    response.headers["Cache-Control"] = "no-store"
    return Link(link=_address(request, new_link(store.db, who, name)))


def _address(request: Request, secret: str) -> str:
    return f"{request.base_url}welcome?link={secret}"
