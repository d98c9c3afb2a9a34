"""What is about to end: its owner is told in time, and once."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from store.audit import note
from store.database import DAY_MS, Database, database_now_ms
from store.entries import subject_of
from store.notices import Event, entry_path, tell
from store.tables import AuditRow, EntryRow, TokenRow
from store.views import Badge

WARNED_DAYS = 7
"""How long before the end."""
WARN = "warn_of_end"
_AT_ONCE = 200


def warn_of_ends(db: Database) -> None:
    """Tell the owners of tokens and unverified entries that end within days; the log keeps who was told."""
    with db.transaction() as session:
        now = database_now_ms(session)
        soon = now + WARNED_DAYS * DAY_MS
        _warn_of_tokens(session, now, soon)
        _warn_of_entries(session, now, soon)


def _warn_of_tokens(session: Session, now: int, soon: int) -> None:
    told = select(AuditRow.id).where(AuditRow.action == WARN, AuditRow.subject == "token " + TokenRow.id)
    # A token that was made for a few days is no news to whoever made it.
    lasting = TokenRow.expires_ms - TokenRow.created_ms > WARNED_DAYS * DAY_MS
    ending = select(TokenRow).where(
        TokenRow.expires_ms > now, TokenRow.expires_ms <= soon, TokenRow.revoked_ms.is_(None), lasting, ~told.exists()
    )
    for token in session.scalars(ending.order_by(TokenRow.id).limit(_AT_ONCE)).all():
        note(session, None, WARN, f"token {token.id}")
        message = f"Your token {token.name} ends within {WARNED_DAYS} days. Make a new one before."
        tell(session, token.account_id, Event.TOKEN_EXPIRING, message, "/account")


def _warn_of_entries(session: Session, now: int, soon: int) -> None:
    ending = select(EntryRow).where(
        EntryRow.badge == Badge.UNVERIFIED, EntryRow.expires_ms > now, EntryRow.expires_ms <= soon
    )
    for entry in session.scalars(ending.order_by(EntryRow.id).limit(_AT_ONCE)).all():
        told = select(AuditRow.id).where(AuditRow.action == WARN, AuditRow.subject == subject_of(entry))
        # Another entry may have had the name before.
        if session.scalar(told.where(AuditRow.at_ms >= entry.published_ms)) is None:
            note(session, None, WARN, subject_of(entry))
            message = (
                f"Your unverified entry {entry.model_id} on {entry.dataset}/{entry.threat_model} ends within "
                f"{WARNED_DAYS} days. Submit its checkpoint to have it evaluated."
            )
            path = entry_path(entry.dataset, entry.threat_model, entry.model_id)
            tell(session, entry.owner_id, Event.ENTRY_EXPIRING, message, path)
