"""The messages that wait to be sent: taken one by one, tried again after a pause, and forgotten in time."""

from __future__ import annotations

import json
from collections.abc import Collection

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.orm import Session

from store.actors import Actor, require_account
from store.database import Database, database_now_ms
from store.notices import Channel
from store.tables import AccountRow, NoticeRow, WebhookRow
from store.views import View

MOST_ATTEMPTS = 8
LONGEST_ERROR = 300
MINUTE_MS = 60_000
_LONGEST_PAUSE_MS = 12 * 60 * MINUTE_MS
_KEPT_MS = 30 * 24 * 60 * MINUTE_MS
"""How long a message that was sent, or could not be, stays to be looked at."""
_SHOWN = 50


class NoticeView(View):
    """A message, as the account that it is for sees it."""

    id: int
    channel: Channel
    webhook: str
    """Id of the webhook; empty for e-mail."""
    event: str
    message: str
    state: str
    """"due", "sent" or "failed"."""
    attempts: int
    error: str
    """Why the last attempt came to nothing."""


class Delivery(View):
    """A message that is to be sent now.

    Args:
        address: where to: of e-mail, or of the webhook.
        secret: key of the webhook's signature; empty for e-mail.
    """

    id: int
    channel: Channel
    event: str
    message: str
    path: str
    at_ms: int
    address: str
    secret: str


def list_notices(db: Database, who: Actor) -> tuple[NoticeView, ...]:
    """Return the newest messages to the account that asks, the newest first."""
    account_id = require_account(who)
    with db.snapshot() as session:
        rows = session.scalars(
            select(NoticeRow).where(NoticeRow.account_id == account_id).order_by(NoticeRow.id.desc()).limit(_SHOWN)
        )
        return tuple(
            NoticeView(
                id=row.id,
                channel=Channel(row.channel),
                webhook=row.target,
                event=row.event,
                message=json.loads(row.content)["message"],
                state=row.state,
                attempts=row.attempts,
                error=row.error,
            )
            for row in rows
        )


def take_notice(db: Database, channels: Collection[Channel]) -> Delivery | None:
    """Take the next message that is due; None where there is none.

    It is due again after a pause, so that whoever is killed while sending it has it sent once more. Messages that were
    never tried come first: an address that answers slowly holds nobody else up.
    """
    while _is_any_due(db, channels):
        with db.transaction() as session:
            now = database_now_ms(session)
            row = session.scalar(
                select(NoticeRow)
                .where(*_due(now, channels))
                .order_by(NoticeRow.attempts, NoticeRow.due_ms, NoticeRow.id)
                .limit(1)
                .with_for_update(skip_locked=True)
            )
            if row is None:
                return None
            row.attempts += 1
            row.due_ms = now + _pause_ms(row.attempts)
            delivery = _delivery(session, row)
            if delivery is not None:
                return delivery
            row.state, row.error = "failed", "there is nobody to send it to any more"
    return None


def note_sent(db: Database, notice_id: int) -> None:
    """Keep that a message has arrived."""
    with db.transaction() as session:
        now = database_now_ms(session)
        session.execute(update(NoticeRow).where(NoticeRow.id == notice_id).values(state="sent", error="", due_ms=now))


def note_failed(db: Database, notice_id: int, error: str, *, lasting: bool = False) -> None:
    """Keep why an attempt came to nothing; where that may pass, whatever else goes to the same address waits as long.

    Args:
        db: the database.
        notice_id: which message.
        error: why, without secrets.
        lasting: whether trying again cannot help.
    """
    with db.transaction() as session:
        row = session.get(NoticeRow, notice_id, with_for_update=True)
        if row is None or row.state != "due":
            return
        row.error = error[:LONGEST_ERROR]
        if lasting or row.attempts >= MOST_ATTEMPTS:
            row.state, row.due_ms = "failed", database_now_ms(session)
        if row.channel == Channel.WEBHOOK and not lasting:
            again = database_now_ms(session) + _pause_ms(row.attempts)
            session.execute(
                update(NoticeRow)
                .where(NoticeRow.target == row.target, NoticeRow.state == "due", NoticeRow.due_ms < again)
                .values(due_ms=again)
                .execution_options(synchronize_session=False)
            )


def tidy_notices(db: Database, channels: Collection[Channel]) -> None:
    """Forget what was done with long ago, and give up what goes by a channel that this service does not use."""
    with db.transaction() as session:
        now = database_now_ms(session)
        session.execute(delete(NoticeRow).where(NoticeRow.state != "due", NoticeRow.due_ms < now - _KEPT_MS))
        session.execute(
            update(NoticeRow)
            .where(NoticeRow.state == "due", NoticeRow.channel.not_in(channels))
            .values(state="failed", error="this service sends none of these", due_ms=now)
        )


def _is_any_due(db: Database, channels: Collection[Channel]) -> bool:
    """Look without writing, which on SQLite would keep others from it."""
    with db.snapshot() as session:
        due = select(NoticeRow.id).where(*_due(database_now_ms(session), channels)).limit(1)
        return session.scalar(due) is not None


def _due(now: int, channels: Collection[Channel]) -> tuple[ColumnElement[bool], ...]:
    return NoticeRow.state == "due", NoticeRow.due_ms <= now, NoticeRow.channel.in_(channels)


def _delivery(session: Session, row: NoticeRow) -> Delivery | None:
    account = session.get_one(AccountRow, row.account_id)
    if account.disabled or account.deleted_ms is not None:
        return None
    if row.channel == Channel.EMAIL:
        address, secret = account.email, ""
    else:
        hook = session.get(WebhookRow, row.target)
        address, secret = (hook.url, hook.secret) if hook is not None else (None, "")
    if not address:
        return None
    content = json.loads(row.content)
    return Delivery(
        id=row.id,
        channel=Channel(row.channel),
        event=row.event,
        message=content["message"],
        path=content["path"],
        at_ms=content["at_ms"],
        address=address,
        secret=secret,
    )


def _pause_ms(attempts: int) -> int:
    return int(min(MINUTE_MS * 4 ** (attempts - 1), _LONGEST_PAUSE_MS))
