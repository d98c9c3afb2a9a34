"""What administrators decide about accounts: who is invited, what each is trusted with, who is shut out."""

from __future__ import annotations

from sqlalchemy import select

from store.account_links import make_link
from store.account_rows import (
    AccountView,
    account_by_name,
    checked_name,
    end_links,
    end_sessions,
    insert_account,
    require_another_admin,
    view_account,
)
from store.actors import Actor, Role, require_admin_or_operator
from store.audit import note
from store.database import Database, take_turns
from store.tables import AccountRow


def invite(db: Database, who: Actor | None, name: str, role: Role) -> tuple[AccountView, str]:
    """Make an account without a password, and return the link's secret that lets its owner choose one.

    Args:
        db: the database.
        who: an administrator; None for the operator, who has the database anyway.
        name: of the account.
        role: what it is trusted with.
    Raises:
        Forbidden: they are no administrator.
        InvalidInput: the name breaks a rule.
        Conflict: it is taken.
    """
    actor = require_admin_or_operator(who)
    name = checked_name(name)
    with db.transaction() as session:
        row = insert_account(session, name, role)
        note(session, actor, "invite", f"account {row.id}", role=role)
        return view_account(row), make_link(session, row)


def list_accounts(db: Database, who: Actor | None) -> tuple[AccountView, ...]:
    """Return all accounts that are not deleted, the oldest first.

    Raises:
        Forbidden: `who` is no administrator.
    """
    require_admin_or_operator(who)
    with db.snapshot() as session:
        rows = session.scalars(select(AccountRow).where(AccountRow.deleted_ms.is_(None)).order_by(AccountRow.id))
        return tuple(view_account(row) for row in rows)


def set_account(
    db: Database, who: Actor | None, name: str, *, role: Role | None = None, disabled: bool | None = None
) -> AccountView:
    """Change what an account is trusted with, or shut it out.

    Whoever is trusted with something else, or shut out, is signed out at once, so that no browser goes on with what it
    was given before; tokens follow the account by themselves.

    Raises:
        Forbidden: `who` is no administrator.
        NotFound: there is no such account.
        Conflict: it is the last administrator's.
    """
    actor = require_admin_or_operator(who)
    with db.transaction() as session:
        take_turns(session, "administrators")
        row = account_by_name(session, name)
        if (role not in {None, Role.ADMIN}) or disabled:
            require_another_admin(session, row)
        if role is not None and role != row.role:
            note(session, actor, "set_role", f"account {row.id}", role=role)
            row.role = role
            end_sessions(session, row.id)
        if disabled is not None and disabled != row.disabled:
            note(session, actor, "disable" if disabled else "enable", f"account {row.id}")
            row.disabled = disabled
            if disabled:
                end_sessions(session, row.id)
                end_links(session, row.id)
        return view_account(row)
