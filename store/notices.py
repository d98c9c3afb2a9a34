"""Messages to the owners of accounts: written with what they tell of, in its transaction, and sent afterwards."""

from __future__ import annotations

from enum import StrEnum
from urllib.parse import quote

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from benchmark.report import canonical_json
from store.database import DAY_MS, database_now_ms
from store.tables import AccountRow, NoticeRow, WebhookRow

MOST_WAITING = 500
"""Messages to one account that may wait to be sent; what happens beyond that it is not told."""
MOST_MAILS_A_DAY = 50
"""E-mails to one account within a day: nobody has confirmed that the address is its owner's."""


class Channel(StrEnum):
    """How a message reaches somebody."""

    EMAIL = "email"
    WEBHOOK = "webhook"


class Event(StrEnum):
    """What a message tells of."""

    SUBMISSION_RECEIVED = "submission.received"
    SUBMISSION_CHECKED = "submission.checked"
    SUBMISSION_REJECTED = "submission.rejected"
    SUBMISSION_PUBLISHED = "submission.published"
    SUBMISSION_FAILED = "submission.failed"
    SUBMISSION_CANCELLED = "submission.cancelled"
    SUBMISSION_WITHDRAWN = "submission.withdrawn"
    SUBMISSION_DECLINED = "submission.declined"
    EMBARGO_ENDED = "embargo.ended"
    EXTERNAL_JUDGED = "external_evaluation.judged"
    CLAIM_ANSWERED = "claim.answered"
    ENTRY_REMOVED = "entry.removed"
    ENTRY_EXPIRING = "entry.expiring"
    TOKEN_EXPIRING = "token.expiring"  # noqa: S105 - the name of an event
    PING = "ping"


def tell(session: Session, account_id: str | None, event: Event, message: str, path: str) -> None:
    """Write a message to an account, for its address and each of its webhooks, in the transaction of what it tells.

    Args:
        session: the transaction.
        account_id: whom; nobody where it is None, the account is shut out, or has too many messages waiting.
        event: what has happened.
        message: the same in a sentence or two.
        path: of the page that shows more, on this service.
    """
    account = session.get(AccountRow, account_id) if account_id is not None else None
    if account is None or account.disabled or account.deleted_ms is not None:
        return
    hooks = session.scalars(select(WebhookRow.id).where(WebhookRow.account_id == account.id)).all()
    targets = [(Channel.EMAIL, "")] * bool(account.email) + [(Channel.WEBHOOK, hook) for hook in hooks]
    if targets and _waiting(session, account.id) + len(targets) <= MOST_WAITING:
        now = database_now_ms(session)
        if account.email and _mails_since(session, account.id, now - DAY_MS) >= MOST_MAILS_A_DAY:
            targets = targets[1:]
        for channel, target in targets:
            session.add(_row(account.id, channel, target, event, message, path, now=now))


def tell_webhook(session: Session, hook: WebhookRow, event: Event, message: str, path: str) -> None:
    """Write a message for one webhook alone, unless one of the kind waits already."""
    same = (NoticeRow.target == hook.id, NoticeRow.event == event, NoticeRow.state == "due")
    if session.scalar(select(NoticeRow.id).where(NoticeRow.account_id == hook.account_id, *same)) is None:
        now = database_now_ms(session)
        session.add(_row(hook.account_id, Channel.WEBHOOK, hook.id, event, message, path, now=now))


def entry_path(dataset: str, threat_model: str, model_id: str) -> str:
    """Return the path of an entry's page."""
    return f"/models/{quote(dataset, safe='')}/{quote(threat_model, safe='')}/{quote(model_id, safe='')}"


def _row(
    account_id: str, channel: Channel, target: str, event: Event, message: str, path: str, *, now: int
) -> NoticeRow:
    return NoticeRow(
        account_id=account_id,
        channel=channel,
        target=target,
        event=event,
        content=canonical_json({"message": message, "path": path, "at_ms": now}).decode(),
        state="due",
        attempts=0,
        due_ms=now,
        error="",
    )


def _waiting(session: Session, account_id: str) -> int:
    mine = select(func.count()).where(NoticeRow.account_id == account_id, NoticeRow.state == "due")
    return session.scalar(mine) or 0


def _mails_since(session: Session, account_id: str, since_ms: int) -> int:
    mails = select(func.count()).where(
        NoticeRow.account_id == account_id, NoticeRow.channel == Channel.EMAIL, NoticeRow.due_ms >= since_ms
    )
    return session.scalar(mails) or 0
