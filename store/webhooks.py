"""Webhooks: addresses of an account that are told of what happens to its submissions and entries."""

from __future__ import annotations

import ipaddress
import re
from contextlib import suppress
from urllib.parse import urlsplit

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from benchmark.errors import Conflict, InvalidInput, NotFound
from store.actors import Actor, Scope, require_account
from store.addresses import is_public
from store.audit import note
from store.database import Database, database_now_ms, new_id, take_turns
from store.errors import QueueFull
from store.notices import Event, tell_webhook
from store.secret_texts import new_secret
from store.tables import NoticeRow, WebhookRow
from store.views import View

MOST_WEBHOOKS = 5
LONGEST_URL = 500
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|[0-9A-Fa-f:]{2,45}")


class WebhookView(View):
    """A webhook, as its owner sees it afterwards: without the secret."""

    id: str
    url: str
    created_ms: int


def add_webhook(db: Database, who: Actor, url: str, *, offered: bool) -> tuple[WebhookView, str]:
    """Add a webhook and return it with the key of its signatures, which nobody can see again.

    Args:
        db: the database.
        who: whose.
        url: where messages go; https.
        offered: whether this service sends any.
    Raises:
        SignInNeeded: nobody is signed in.
        InvalidInput: the address may not be asked.
        Conflict: this service sends no webhooks.
        QueueFull: the account has as many as it may.
    """
    account_id = require_account(who, Scope.SUBMIT)
    _require_offered(offered=offered)
    url = url.strip()
    _check_url(url)
    secret = new_secret()
    with db.transaction() as session:
        take_turns(session, "webhooks")
        present = select(func.count()).select_from(WebhookRow).where(WebhookRow.account_id == account_id)
        if (session.scalar(present) or 0) >= MOST_WEBHOOKS:
            raise QueueFull(f"You have {MOST_WEBHOOKS} webhooks already. Remove one first.")
        now = database_now_ms(session)
        row = WebhookRow(id=new_id(now), account_id=account_id, url=url, secret=secret, created_ms=now)
        session.add(row)
        note(session, account_id, "add_webhook", f"webhook {row.id}", host=urlsplit(url).hostname or "")
        return _view(row), secret


def list_webhooks(db: Database, who: Actor) -> tuple[WebhookView, ...]:
    """Return the webhooks of the account that asks, the oldest first."""
    account_id = require_account(who)
    with db.snapshot() as session:
        rows = session.scalars(select(WebhookRow).where(WebhookRow.account_id == account_id).order_by(WebhookRow.id))
        return tuple(_view(row) for row in rows)


def remove_webhook(db: Database, who: Actor, webhook_id: str) -> None:
    """Remove a webhook; what still waits for it is not sent.

    Raises:
        NotFound: the account has no such webhook.
    """
    account_id = require_account(who, Scope.SUBMIT)
    with db.transaction() as session:
        row = _own(session, account_id, webhook_id)
        session.execute(
            update(NoticeRow)
            .where(NoticeRow.account_id == account_id, NoticeRow.target == row.id, NoticeRow.state == "due")
            .values(state="failed", error="the webhook was removed", due_ms=database_now_ms(session))
        )
        session.execute(delete(WebhookRow).where(WebhookRow.id == row.id))
        note(session, account_id, "remove_webhook", f"webhook {webhook_id}")


def ping_webhook(db: Database, who: Actor, webhook_id: str, *, offered: bool) -> WebhookView:
    """Have a message sent to a webhook that tells of nothing, to see whether it arrives.

    Raises:
        NotFound: the account has no such webhook.
        Conflict: this service sends no webhooks.
    """
    account_id = require_account(who, Scope.SUBMIT)
    _require_offered(offered=offered)
    with db.transaction() as session:
        row = _own(session, account_id, webhook_id)
        tell_webhook(session, row, Event.PING, "This webhook works.", "/account/webhooks")
        return _view(row)


def _own(session: Session, account_id: str, webhook_id: str) -> WebhookRow:
    row = session.get(WebhookRow, webhook_id)
    if row is None or row.account_id != account_id:
        raise NotFound.because(
            "webhook", found=repr(webhook_id[:80]), expected="the id of one of your webhooks",
            remedy="look at the list",
        )  # fmt: skip
    return row


def _require_offered(*, offered: bool) -> None:
    if not offered:
        raise Conflict.because(
            "webhooks", found="a service that sends none", expected="one that does",
            remedy="ask its operator to set webhooks to on, or give your account an e-mail address",
        )  # fmt: skip


def _check_url(url: str) -> None:
    """Refuse what cannot be asked. Where its name leads is looked at each time that it is."""
    sound = url.isascii() and url.isprintable() and " " not in url and len(url) <= LONGEST_URL
    with suppress(ValueError):
        parts = urlsplit(url)
        host = parts.hostname or ""
        sound = sound and parts.scheme == "https" and parts.username is None and parts.password is None
        if sound and not parts.fragment and parts.port != 0 and _HOST.fullmatch(host) and not _is_own(host):
            return
    raise InvalidInput.because(
        "url", found=ascii(url[:100]), expected="an address of the internet that begins with https://",
        remedy="use https and a host that everybody can reach; a signature shows that the message is from here",
    )  # fmt: skip


def _is_own(host: str) -> bool:
    """Tell whether a host is said to be of this machine or its network, without asking anybody."""
    if host == "localhost" or host.endswith((".localhost", ".local", ".internal")):
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host.replace(".", "").isdigit()  # such as 2130706433, which some resolvers take for 127.0.0.1
    return not is_public(host)


def _view(row: WebhookRow) -> WebhookView:
    return WebhookView(id=row.id, url=row.url, created_ms=row.created_ms)
