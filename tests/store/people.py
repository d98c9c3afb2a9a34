"""People with accounts, made without the time that a password takes."""

from __future__ import annotations

from store.actors import Actor, Role
from store.database import Database, database_now_ms
from store.tables import AccountRow


def person(db: Database, name: str, role: Role = Role.SUBMITTER, *, email: str | None = None, team: str = "") -> Actor:
    """Make an account and return it as it asks for things in a browser."""
    with db.transaction() as session:
        row = AccountRow(
            id=f"id-of-{name}",
            name=name,
            email=email,
            team=team,
            role=role,
            disabled=False,
            created_ms=database_now_ms(session),
        )
        session.add(row)
    return Actor(account_id=row.id, name=name, team=team, role=role, submitter=f"account-{row.id}")
