"""What the API says of accounts beyond the store's own views."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt

from store.account_rows import AccountView
from store.actors import Role, Scope
from store.sign_in import TokenView

_PASSWORD = "hunter-of-the-white-whale"  # noqa: S105 - an example


class AccountEdit(BaseModel):
    """What changes; what is left out stays, and an empty address removes it."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"email": "jane@example.org", "team": "Careful Learning Group"}]},
    )

    email: str | None = None
    team: str | None = None


class AccountDeletion(BaseModel):
    """That somebody means it: their password."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"password": _PASSWORD}]})

    password: str


class PasswordChange(BaseModel):
    """The present password and the next one."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"present_password": _PASSWORD, "password": "call-me-by-another-name"}]},
    )

    present_password: str
    password: str


class TokenRequest(BaseModel):
    """A token to be made."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"name": "laptop", "scopes": ["read", "submit"], "days": 90}]},
    )

    name: str
    scopes: tuple[Scope, ...] = (Scope.READ, Scope.SUBMIT)
    days: StrictInt | None = Field(default=90, description="Days after which it ends, at most 365; null for never")


class NewToken(BaseModel):
    """A token with its secret, which is shown this once."""

    token: TokenView
    secret: str


class TokenList(BaseModel):
    """Tokens of the account that asks, the latest first."""

    tokens: tuple[TokenView, ...]


class AccountRequest(BaseModel):
    """Somebody registers, with a password; or an administrator invites somebody, with a role and without one."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"name": "jane", "password": _PASSWORD, "email": "jane@example.org", "team": "Careful Learning Group"},
                {"name": "john", "role": "maintainer"},
            ]
        },
    )

    name: str
    password: str | None = None
    email: str = ""
    team: str = ""
    role: Role | None = None


class NewAccountAnswer(BaseModel):
    """The account that was made."""

    account: AccountView
    link: str | None = Field(description="For somebody invited: where they choose their password, once, within a day")


class AccountList(BaseModel):
    """All accounts, the oldest first."""

    accounts: tuple[AccountView, ...]


class AccountChange(BaseModel):
    """What an administrator changes; what is left out stays."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"role": "maintainer"}]})

    role: Role | None = None
    disabled: StrictBool | None = None


class Link(BaseModel):
    """Where somebody chooses a new password, once, within a day."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"link": "https://gauntlet.example/welcome?link=…"}]})

    link: str
