"""Everybody who may ask the service for something, from nobody to an administrator, with tokens good and bad."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from itertools import count

import pytest
from argon2 import PasswordHasher

from store import passwords
from store.account_links import choose_password_by_link
from store.actors import Role, Scope
from store.administration import invite, set_account
from store.database import Database
from store.sign_in import begin_session, create_token, revoke_token, sign_out, who_has_session
from store.tables import TokenRow

PASSWORD = "a whale is no fish"
COOKIE = "gauntlet_session"
_numbers = count()


class Caller(StrEnum):
    """Who asks. The owner is whoever owns the object that is asked for; what is not a token is a browser's session."""

    NOBODY = "nobody"
    GUEST = "nobody, where work is taken from anybody"
    OTHER = "another submitter"
    OWNER = "the owner"
    MAINTAINER = "a maintainer"
    ADMIN = "an administrator"
    OWNER_READ = "the owner's token to read"
    OWNER_SUBMIT = "the owner's token to submit"
    OWNER_ACCOUNT = "the owner's token to change the account"
    MAINTAINER_READ = "a maintainer's token to read"
    MAINTAINER_MODERATE = "a maintainer's token to moderate"
    ADMIN_MODERATE = "an administrator's token to moderate"
    EXPIRED = "an administrator's token that has expired"
    REVOKED = "an administrator's token that was revoked"
    DISABLED = "the token of an administrator who was shut out"
    SHUT_OUT = "the session of an administrator who was shut out"
    SIGNED_OUT = "the session of an administrator who has signed out"

    @property
    def is_owner(self) -> bool:
        """Whether the object that is asked for is theirs."""
        return self.name.startswith("OWNER")

    @property
    def role(self) -> Role:
        """What their account is trusted with."""
        if self.name.startswith("MAINTAINER"):
            return Role.MAINTAINER
        return Role.SUBMITTER if self.is_owner or self is Caller.OTHER else Role.ADMIN

    @property
    def scope(self) -> Scope | None:
        """What their token is for; None for a session."""
        return _SCOPES.get(self)


_SCOPES = {
    Caller.OWNER_READ: Scope.READ,
    Caller.OWNER_SUBMIT: Scope.SUBMIT,
    Caller.OWNER_ACCOUNT: Scope.ACCOUNT,
    Caller.MAINTAINER_READ: Scope.READ,
    Caller.MAINTAINER_MODERATE: Scope.MODERATE,
    Caller.ADMIN_MODERATE: Scope.MODERATE,
}
BAD_TOKENS = (Caller.EXPIRED, Caller.REVOKED, Caller.DISABLED)
DEAD_SESSIONS = (Caller.SHUT_OUT, Caller.SIGNED_OUT)


@dataclass(frozen=True)
class Person:
    """Somebody, and how a request shows who they are.

    Args:
        account_id: their account; empty for nobody.
        name: what they sign in with.
        headers: what they send.
    """

    account_id: str
    name: str
    headers: dict[str, str]


def a_person(db: Database, caller: Caller) -> Person:
    """Somebody new of this kind, with a password of their own."""
    if caller in {Caller.NOBODY, Caller.GUEST}:
        return Person("", "", {})
    invited, link = invite(db, None, f"{caller.name.lower()}-{next(_numbers)}", caller.role)
    account = choose_password_by_link(db, link, PASSWORD)
    session = begin_session(db, account.id)
    if caller in BAD_TOKENS or caller.scope is not None:
        headers = {"Authorization": f"Bearer {_token(db, caller, session)}"}
    else:
        headers = {"Cookie": f"{COOKIE}={session}"}
    if caller in {Caller.DISABLED, Caller.SHUT_OUT}:
        set_account(db, None, account.name, disabled=True)
    if caller is Caller.SIGNED_OUT:
        sign_out(db, session)
    return Person(invited.id, invited.name, headers)


def _token(db: Database, caller: Caller, session: str) -> str:
    who = who_has_session(db, session)
    assert who is not None
    token, secret = create_token(db, who, "test", [caller.scope] if caller.scope is not None else list(Scope))
    if caller is Caller.REVOKED:
        revoke_token(db, who, token.id)
    if caller is Caller.EXPIRED:
        with db.transaction() as session_of_db:
            session_of_db.get_one(TokenRow, token.id).expires_ms = 1
    return secret


@contextmanager
def hashed_quickly() -> Iterator[None]:
    """Hash passwords in a thousandth of the time until the end of the block."""
    hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_hasher", hasher)
        patch.setattr(passwords, "_NOBODYS", hasher.hash("the password of nobody"))
        yield
