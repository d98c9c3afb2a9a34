"""The log of what people with accounts did: written with what was done, in its transaction, and never changed."""

from __future__ import annotations

import json

from sqlalchemy import select
from sqlalchemy.orm import Session

from benchmark.report import canonical_json
from store.actors import Actor, require_maintainer
from store.database import Database, database_now_ms
from store.tables import AccountRow, AuditRow
from store.views import View


class AuditView(View):
    """Something that somebody did."""

    id: int
    at_ms: int
    actor: str
    """The account's id; empty where the service itself acted."""
    name: str
    """What the account signs in with now; empty where the service itself acted."""
    action: str
    subject: str
    detail: dict[str, str]


def note(session: Session, actor: str | None, action: str, subject: str, **detail: str) -> None:
    """Write down what is done, in the transaction that does it.

    Args:
        session: the transaction.
        actor: the account's id; None for the service itself.
        action: a verb, such as "approve".
        subject: what it is done to, such as "submission 0194…".
        detail: more of it; no secrets, for maintainers read it.
    """
    session.add(
        AuditRow(
            at_ms=database_now_ms(session),
            actor=actor or "",
            action=action,
            subject=subject,
            detail=canonical_json(detail).decode(),
        )
    )


def list_audit(
    db: Database, who: Actor | None, *, subject: str | None = None, before: int | None = None, limit: int = 100
) -> tuple[AuditView, ...]:
    """Return what was done, the latest first.

    Args:
        db: the database.
        who: a maintainer; None for the operator, who has the database anyway.
        subject: only what was done to this.
        before: only what is older than the record of this number, to go on from a page.
        limit: most records.
    Raises:
        SignInNeeded: they must say who they are.
        Forbidden: they are no maintainer.
    """
    if who is not None:
        require_maintainer(who)
    accounts = select(AuditRow, AccountRow.name).outerjoin(AccountRow, AccountRow.id == AuditRow.actor)
    wanted = accounts.order_by(AuditRow.id.desc()).limit(limit)
    if subject is not None:
        wanted = wanted.where(AuditRow.subject == subject)
    if before is not None:
        wanted = wanted.where(AuditRow.id < before)
    with db.snapshot() as session:
        return tuple(
            AuditView(
                id=row.id,
                at_ms=row.at_ms,
                actor=row.actor,
                name=name or "",
                action=row.action,
                subject=row.subject,
                detail=json.loads(row.detail),
            )
            for row, name in session.execute(wanted)
        )
