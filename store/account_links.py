"""Links that let somebody in once, to choose a password: for the first administrator, the invited, the forgetful."""

from __future__ import annotations

import secrets

from sqlalchemy import select
from sqlalchemy.orm import Session

from benchmark.errors import NotFound
from store.account_rows import (
    AccountView,
    account_by_name,
    end_all,
    end_links,
    insert_account,
    is_taken,
    view_account,
)
from store.actors import Actor, Role, require_admin_or_operator
from store.audit import note
from store.database import DAY_MS, Database, database_now_ms, take_turns
from store.passwords import check_password, hash_password
from store.secret_texts import hash_of, new_secret
from store.tables import AccountRow, LinkRow

LINK_MS = DAY_MS
"""How long a link lets somebody in."""
FIRST = "admin"
"""Name of the account that a new service makes."""


def first_link(db: Database) -> str | None:
    """Make the first administrator where there is none, and return the secret of a link that lets them in.

    Returns:
        None once some administrator has a password. Until then each call makes a new link, and the older ones end.
    """
    with db.transaction() as session:
        take_turns(session, "administrators")
        admins = session.scalars(
            select(AccountRow)
            .where(AccountRow.role == Role.ADMIN, AccountRow.deleted_ms.is_(None))
            .order_by(AccountRow.id)
            .with_for_update()
        ).all()
        if any(row.password_hash and not row.disabled for row in admins):
            return None
        row = next((row for row in admins if row.password_hash is None), None)
        if row is None:
            name = FIRST if not is_taken(session, FIRST) else f"{FIRST}-{secrets.token_hex(3)}"
            row = insert_account(session, name, Role.ADMIN)
        row.disabled = False
        return make_link(session, row)


def new_link(db: Database, who: Actor | None, name: str) -> str:
    """Return the secret of a link by which the owner of an account chooses a new password; older links end.

    Args:
        db: the database.
        who: an administrator; None for the operator, who has the database anyway.
        name: of the account.
    Raises:
        Forbidden: `who` is no administrator.
        NotFound: there is no such account.
    """
    actor = require_admin_or_operator(who)
    with db.transaction() as session:
        row = account_by_name(session, name)
        note(session, actor, "make_link", f"account {row.id}")
        return make_link(session, row)


def account_of_link(db: Database, secret: str) -> AccountView:
    """Return whose link it is, without using it up.

    Raises:
        NotFound: it was used, has ended, or never was.
    """
    with db.snapshot() as session:
        return view_account(_linked(session, secret))


def choose_password_by_link(db: Database, secret: str, password: str) -> AccountView:
    """Use a link up: its owner gets this password, and every session and token that there was ends.

    Raises:
        NotFound: it was used, has ended, or never was.
        InvalidInput: the password is easily guessed; the link still holds.
    """
    found = account_of_link(db, secret)
    check_password(password, found.name, found.email)
    kept = hash_password(password)
    with db.transaction() as session:
        row = _linked(session, secret, locked=True)
        row.password_hash = kept
        end_all(session, row.id)
        note(session, row.id, "choose_password", f"account {row.id}")
        return view_account(row)


def make_link(session: Session, row: AccountRow) -> str:
    """Make a link for an account in a transaction, and return its secret; older links of the account end."""
    secret = new_secret()
    end_links(session, row.id)
    session.add(LinkRow(sha256=hash_of(secret), account_id=row.id, expires_ms=database_now_ms(session) + LINK_MS))
    return secret


def _linked(session: Session, secret: str, *, locked: bool = False) -> AccountRow:
    wanted = (
        select(AccountRow)
        .join(LinkRow, LinkRow.account_id == AccountRow.id)
        .where(
            LinkRow.sha256 == hash_of(secret),
            LinkRow.expires_ms > database_now_ms(session),
            AccountRow.disabled.is_(False),
        )
    )
    # Whoever comes second waits for the lock, and then finds that the link is gone.
    row = session.scalar(wanted.with_for_update() if locked else wanted)
    if row is None:
        raise NotFound.because(
            "link", found="one that has ended or was used", expected="a link that was never used",
            remedy="ask for a new one: `gauntlet account link NAME` on the machine of the service",
        )  # fmt: skip
    return row
