"""Rows of accounts: inserted, found, shown, and the rules about their fields. For use inside a transaction."""

from __future__ import annotations

import re

from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from benchmark.errors import Conflict, InvalidInput, NotFound
from store.actors import Role
from store.admission import cleaned_text
from store.database import database_now_ms, new_id
from store.tables import AccountRow, LinkRow, SessionRow, TokenRow
from store.views import View

NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{1,38}")
LONGEST_TEAM = 100
RESERVED = frozenset({"admin", "administrator", "gauntlet", "maintainer", "moderator", "root", "support", "system"})
"""Names that somebody who is none of these could pass themselves off by; only the service and administrators give
them."""
_EMAIL = re.compile(r"[^\s@<>\"']{1,64}@[^\s@<>\"']{1,180}\.[^\s@<>\"'.]{2,}")


class AccountView(View):
    """An account, as its owner and administrators see it."""

    id: str
    name: str
    email: str | None
    team: str
    role: Role
    disabled: bool
    has_password: bool
    created_ms: int


def insert_account(
    session: Session,
    name: str,
    role: Role,
    *,
    email: str | None = None,
    team: str = "",
    password_hash: str | None = None,
) -> AccountRow:
    """Insert an account whose fields were checked.

    Raises:
        Conflict: the name or the address is taken.
    """
    now = database_now_ms(session)
    row = AccountRow(
        id=new_id(now),
        name=name,
        email=email,
        team=team,
        password_hash=password_hash,
        role=role,
        disabled=False,
        created_ms=now,
        deleted_ms=None,
    )
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        # Whoever was first has committed by now, so it is known which of the two is taken.
        raise (name_taken(name) if is_taken(session, name) else email_taken()) from None
    return row


def is_taken(session: Session, name: str) -> bool:
    """Tell whether an account has that name."""
    return session.scalar(select(AccountRow.id).where(AccountRow.name == name)) is not None


def name_taken(name: str) -> Conflict:
    """Return the error about a name that another account has."""
    return Conflict.because(
        "name", found=repr(name), expected="a name that is not taken", remedy="choose another name, or sign in"
    )


def email_taken() -> Conflict:
    """Return the error about an address that another account has."""
    return Conflict.because(
        "email", found="an address that another account has", expected="an address of your own",
        remedy="sign in to that account, or leave the address out",
    )  # fmt: skip


def account_by_name(session: Session, name: str) -> AccountRow:
    """Return the account of that name, locked.

    Raises:
        NotFound: there is none.
    """
    wanted = as_name(name)
    row = (
        session.scalar(
            select(AccountRow).where(AccountRow.name == wanted, AccountRow.deleted_ms.is_(None)).with_for_update()
        )
        if wanted is not None
        else None
    )
    if row is None:
        raise NotFound.because(
            "account", found=ascii(name[:80]), expected="the name of an account", remedy="look it up in the list"
        )
    return row


def as_name(text: str) -> str | None:
    """Return what somebody typed as a name is kept; None where no account can bear it, so that nobody need look."""
    name = text.strip().lower()
    return name if NAME.fullmatch(name) else None


def checked_name(text: str) -> str:
    """Return a name as it is kept.

    Raises:
        InvalidInput: it breaks the rule.
    """
    name = as_name(text)
    if name is None:
        raise InvalidInput.because(
            "name", found=ascii(text[:80]), expected="2 to 39 of a-z, 0-9, _ . -, first a letter or digit",
            remedy="choose another name",
        )  # fmt: skip
    return name


def checked_email(email: str) -> str | None:
    """Return an address as it is kept; None where there is none.

    Raises:
        InvalidInput: it is no address.
    """
    email = email.strip().lower()
    if email and not (len(email) <= 254 and email.isprintable() and _EMAIL.fullmatch(email)):
        raise InvalidInput.because(
            "email", found=ascii(email[:80]), expected="an address such as you@example.org",
            remedy="correct it, or leave it out",
        )  # fmt: skip
    return email or None


def checked_team(team: str) -> str:
    """Return a team's name without what cannot be seen.

    Raises:
        InvalidInput: it is too long.
    """
    return cleaned_text("team", team, LONGEST_TEAM)


def end_sessions(session: Session, account_id: str) -> None:
    """End every session of an account."""
    session.execute(delete(SessionRow).where(SessionRow.account_id == account_id))


def end_links(session: Session, account_id: str) -> None:
    """End every link of an account."""
    session.execute(delete(LinkRow).where(LinkRow.account_id == account_id))


def end_all(session: Session, account_id: str) -> None:
    """End every session, link and token of an account."""
    end_sessions(session, account_id)
    end_links(session, account_id)
    session.execute(
        update(TokenRow)
        .where(TokenRow.account_id == account_id, TokenRow.revoked_ms.is_(None))
        .values(revoked_ms=database_now_ms(session))
    )


def require_another_admin(session: Session, row: AccountRow) -> None:
    """Refuse to let the last administrator go. Whoever asks has taken a turn at "administrators".

    Raises:
        Conflict: it is the last one.
    """
    others = select(func.count()).where(
        AccountRow.role == Role.ADMIN, AccountRow.disabled.is_(False), AccountRow.id != row.id
    )
    if row.role == Role.ADMIN and not session.scalar(others):
        raise Conflict.because(
            "account", found="the last administrator", expected="another administrator to remain",
            remedy="make somebody else an administrator first",
        )  # fmt: skip


def view_account(row: AccountRow) -> AccountView:
    """Show an account."""
    return AccountView(
        id=row.id,
        name=row.name,
        email=row.email,
        team=row.team,
        role=Role(row.role),
        disabled=row.disabled,
        has_password=row.password_hash is not None,
        created_ms=row.created_ms,
    )
