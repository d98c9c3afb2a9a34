"""Webhooks of an account, and the messages that were sent to it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from api.entry_schemas import NewWebhook, NoticeList, WebhookList, WebhookRequest
from api.errors import responses
from api.services import Store, Who
from store.deliveries import list_notices
from store.webhooks import WebhookView, add_webhook, list_webhooks, ping_webhook, remove_webhook

router = APIRouter(prefix="/account", tags=["messages"])

WebhookId = Annotated[str, Path(max_length=100, description="Id of the webhook")]


@router.get("/webhooks", responses=responses(401, 403))
def read_webhooks(store: Store, who: Who) -> WebhookList:
    """List your webhooks."""
    return WebhookList(webhooks=list_webhooks(store.db, who))


@router.post("/webhooks", status_code=201, responses=responses(400, 401, 403, 409, 503))
def post_webhook(body: WebhookRequest, store: Store, who: Who) -> NewWebhook:
    """Add a webhook. Every message bears `X-Gauntlet-Signature: sha256=…`.

    That is the HMAC-SHA256, by the secret returned here, of the header `X-Gauntlet-Timestamp`, a point, and the body.
    """
    view, secret = add_webhook(store.db, who, body.url, offered=store.webhooks)
    return NewWebhook(id=view.id, url=view.url, created_ms=view.created_ms, secret=secret)


@router.delete("/webhooks/{webhook_id}", status_code=204, responses=responses(401, 403, 404))
def delete_webhook(webhook_id: WebhookId, store: Store, who: Who) -> None:
    """Remove a webhook; what still waits for it is not sent."""
    remove_webhook(store.db, who, webhook_id)


@router.post("/webhooks/{webhook_id}/ping", status_code=202, responses=responses(401, 403, 404, 409))
def post_ping(webhook_id: WebhookId, store: Store, who: Who) -> WebhookView:
    """Have a message sent that tells of nothing; what comes of it is among the notices."""
    return ping_webhook(store.db, who, webhook_id, offered=store.webhooks)


@router.get("/notices", responses=responses(401, 403))
def read_notices(store: Store, who: Who) -> NoticeList:
    """List the newest messages to you, with what came of sending them."""
    return NoticeList(notices=list_notices(store.db, who))
