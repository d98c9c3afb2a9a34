"""How people and programs show who they are: a password once, then a cookie; or a token with every request."""

from __future__ import annotations

import json
import re
from collections.abc import Collection

from sqlalchemy import delete, select, update

from benchmark.errors import Conflict, InvalidInput, NotFound
from benchmark.report import canonical_json
from store.account_rows import as_name, end_sessions
from store.actors import Actor, Forbidden, Role, Scope, require_account
from store.admission import cleaned_text
from store.audit import note
from store.database import DAY_MS, Database, database_now_ms, new_id
from store.passwords import is_password
from store.secret_texts import hash_of, is_token, new_secret, new_token
from store.tables import AccountRow, SessionRow, TokenRow
from store.views import View

SESSION_MS = 30 * DAY_MS
"""How long somebody stays signed in."""
MOST_DAYS = 365
MOST_TOKENS = 50
_ID = re.compile(r"[0-9a-f]{20}")
_USED_AGAIN_MS = 60_000
"""How exactly it is noted when a token was used last; more would be a write with every request."""


class TokenView(View):
    """A token, as its owner sees it afterwards: without the secret."""

    id: str
    name: str
    scopes: tuple[Scope, ...]
    created_ms: int
    expires_ms: int | None
    used_ms: int | None
    revoked: bool


class WrongPassword(InvalidInput):
    """The name or the password is not right; which of them is not said."""

    code = "unauthorized"


def sign_in(db: Database, name: str, password: str) -> str:
    """Return the secret for the cookie of somebody who shows their password.

    Raises:
        WrongPassword: there is no such account, it is shut out, or the password is another.
        QueueFull: too many sign in at this moment.
    """
    wanted, row = as_name(name), None
    if wanted is not None:
        with db.snapshot() as session:
            row = session.scalar(select(AccountRow).where(AccountRow.name == wanted))
    kept = row.password_hash if row is not None and not row.disabled else None
    if not is_password(password, kept) or row is None:
        raise _wrong_password()
    return begin_session(db, row.id, kept)


def begin_session(db: Database, account_id: str, password_hash: str | None = None) -> str:
    """Sign an account in and return the secret for the cookie; sessions that have ended are forgotten.

    Args:
        db: the database.
        account_id: whose.
        password_hash: what was kept of the password that they have shown, if they have; where another is kept by now,
            it was changed meanwhile.
    Raises:
        WrongPassword: the password was changed meanwhile, or the account was shut out.
    """
    secret = new_secret()
    with db.transaction() as session:
        row = session.get_one(AccountRow, account_id, with_for_update=True)
        if row.disabled or password_hash not in {None, row.password_hash}:
            raise _wrong_password()
        now = database_now_ms(session)
        session.execute(delete(SessionRow).where(SessionRow.account_id == account_id, SessionRow.expires_ms <= now))
        session.add(
            SessionRow(sha256=hash_of(secret), account_id=account_id, created_ms=now, expires_ms=now + SESSION_MS)
        )
        note(session, account_id, "sign_in", f"account {account_id}")
    return secret


def sign_out(db: Database, secret: str) -> None:
    """End a session; one that is not there is no error."""
    with db.transaction() as session:
        session.execute(delete(SessionRow).where(SessionRow.sha256 == hash_of(secret)))


def sign_out_everywhere(db: Database, who: Actor) -> None:
    """End all sessions of the account that asks."""
    account_id = require_account(who, Scope.ACCOUNT)
    with db.transaction() as session:
        end_sessions(session, account_id)
        note(session, account_id, "sign_out_everywhere", f"account {account_id}")


def who_has_session(db: Database, secret: str) -> Actor | None:
    """Return who is signed in with this cookie; None where its session has ended."""
    with db.snapshot() as session:
        row = session.scalar(
            select(AccountRow)
            .join(SessionRow, SessionRow.account_id == AccountRow.id)
            .where(
                SessionRow.sha256 == hash_of(secret),
                SessionRow.expires_ms > database_now_ms(session),
                AccountRow.disabled.is_(False),
            )
        )
        return _actor(row, frozenset(Scope)) if row is not None else None


def who_has_token(db: Database, secret: str) -> Actor | None:
    """Return for whom a token speaks; None where it is none, has ended or was revoked."""
    if not is_token(secret):
        return None
    with db.snapshot() as session:
        now = database_now_ms(session)
        found = session.execute(
            select(TokenRow, AccountRow)
            .join(AccountRow, AccountRow.id == TokenRow.account_id)
            .where(TokenRow.sha256 == hash_of(secret), TokenRow.revoked_ms.is_(None), AccountRow.disabled.is_(False))
        ).one_or_none()
    if found is None or (found[0].expires_ms is not None and found[0].expires_ms <= now):
        return None
    token, account = found
    if token.used_ms is None or now - token.used_ms >= _USED_AGAIN_MS:
        with db.transaction() as session:
            session.execute(update(TokenRow).where(TokenRow.id == token.id).values(used_ms=now))
    return _actor(account, frozenset(Scope(scope) for scope in json.loads(token.scopes)))


def create_token(
    db: Database, who: Actor, name: str, scopes: Collection[Scope], days: int | None = 90
) -> tuple[TokenView, str]:
    """Make a token and return it with its secret, which nobody can see again.

    Args:
        db: the database.
        who: whose it will be; it can let nobody do more than they may themselves.
        name: what they call it.
        scopes: what it lets a program do.
        days: after which it ends, at most a year; None for never.
    Raises:
        InvalidInput: a field breaks a rule.
        Forbidden: they ask for more than they may do themselves.
        Conflict: they have too many.
    """
    account_id = require_account(who, Scope.ACCOUNT)
    name, wanted = cleaned_text("name", name, 80), sorted(set(scopes))
    if not name:
        raise InvalidInput.because("name", found="nothing", expected="what you call it", remedy="say what it is for")
    if not wanted:
        raise InvalidInput.because(
            "scopes", found="none", expected=f"some of {', '.join(Scope)}", remedy="choose what it may do"
        )
    if days is not None and not 1 <= days <= MOST_DAYS:
        raise InvalidInput.because(
            "days",
            found=days,
            expected=f"1 to {MOST_DAYS}, or none for a token that never ends",
            remedy="choose another",
        )
    excess = set(wanted) - who.scopes
    if Scope.MODERATE in wanted and not who.moderates:
        excess.add(Scope.MODERATE)
    if excess:
        raise Forbidden.because(
            "scopes", found=", ".join(sorted(excess)), expected="what you may do yourself", remedy="leave it out"
        )
    secret = new_token()
    with db.transaction() as session:
        session.get_one(AccountRow, account_id, with_for_update=True)  # so that nobody makes two for one free place
        now = database_now_ms(session)
        held = session.scalars(
            select(TokenRow).where(TokenRow.account_id == account_id, TokenRow.revoked_ms.is_(None))
        ).all()
        if sum(row.expires_ms is None or row.expires_ms > now for row in held) >= MOST_TOKENS:
            raise Conflict.because(
                "token", found=f"{MOST_TOKENS} tokens", expected="fewer", remedy="revoke one that you do not need"
            )
        row = TokenRow(
            id=new_id(now),
            account_id=account_id,
            name=name,
            sha256=hash_of(secret),
            scopes=canonical_json(wanted).decode(),
            created_ms=now,
            expires_ms=None if days is None else now + days * DAY_MS,
            used_ms=None,
            revoked_ms=None,
        )
        session.add(row)
        note(session, account_id, "create_token", f"token {row.id}", name=name, scopes=" ".join(wanted))
        return _view(row), secret


def list_tokens(db: Database, who: Actor) -> tuple[TokenView, ...]:
    """Return the tokens of the account that asks, the latest first."""
    account_id = require_account(who)
    with db.snapshot() as session:
        rows = session.scalars(
            select(TokenRow).where(TokenRow.account_id == account_id).order_by(TokenRow.id.desc()).limit(200)
        )
        return tuple(_view(row) for row in rows)


def revoke_token(db: Database, who: Actor, token_id: str) -> TokenView:
    """End a token at once; ending it again changes nothing.

    Raises:
        NotFound: the account has no such token.
    """
    account_id = require_account(who, Scope.ACCOUNT)
    with db.transaction() as session:
        row = session.get(TokenRow, token_id, with_for_update=True) if _ID.fullmatch(token_id) else None
        if row is None or row.account_id != account_id:
            raise NotFound.because(
                "token", found=ascii(token_id[:80]), expected="the id of one of your tokens", remedy="look at the list"
            )
        if row.revoked_ms is None:
            row.revoked_ms = database_now_ms(session)
            note(session, account_id, "revoke_token", f"token {row.id}")
        return _view(row)


def _wrong_password() -> WrongPassword:
    return WrongPassword.because(
        "password", found="another name or password", expected="those of an account",
        remedy="try again; an administrator can send you a link to choose a new password",
    )  # fmt: skip


def _actor(row: AccountRow, scopes: frozenset[Scope]) -> Actor:
    return Actor(
        account_id=row.id,
        name=row.name,
        team=row.team,
        role=Role(row.role),
        scopes=scopes,
        submitter=f"account-{row.id}",
    )


def _view(row: TokenRow) -> TokenView:
    return TokenView(
        id=row.id,
        name=row.name,
        scopes=tuple(Scope(scope) for scope in json.loads(row.scopes)),
        created_ms=row.created_ms,
        expires_ms=row.expires_ms,
        used_ms=row.used_ms,
        revoked=row.revoked_ms is not None,
    )
