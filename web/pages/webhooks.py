"""The webhooks of an account, and the messages that it got."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from fastapi import APIRouter, Request, Response
from starlette.responses import RedirectResponse

from benchmark.errors import GauntletError
from store.actors import Actor, require_account
from store.deliveries import NoticeView, list_notices
from store.services import Services
from store.webhooks import (
    LONGEST_URL,
    MOST_WEBHOOKS,
    WebhookView,
    add_webhook,
    list_webhooks,
    ping_webhook,
    remove_webhook,
)
from web.forms import status_of, to_sign_in
from web.pages.error import Problem, problems_of
from web.rendering import Page, render
from web.services import Store, Who
from web.urlencoded import Fields, tried

router = APIRouter()

ADDRESS = "/account/webhooks"
FIELDS: Mapping[str, int] = {"url": LONGEST_URL}


class WebhooksPage(Page):
    """The webhooks, the form for another one, and the newest messages."""

    template: ClassVar[str] = "webhooks.html"

    offered: bool
    """Whether this service sends any."""
    webhooks: tuple[WebhookView, ...]
    notices: tuple[NoticeView, ...]
    most: int
    added: WebhookView | None
    """The one that was just added."""
    secret: str
    """Its key, shown this once; empty where none was added."""
    longest: dict[str, int]
    values: dict[str, str]
    problems: dict[str, Problem]
    filename: str = ""


def webhooks_page(
    services: Services,
    who: Actor,
    *,
    added: WebhookView | None = None,
    secret: str = "",
    values: Mapping[str, str] | None = None,
    errors: Mapping[str, GauntletError] | None = None,
) -> WebhooksPage:
    """Return the page.

    Raises:
        SignInNeeded: nobody is signed in.
    """
    return WebhooksPage(
        title="Messages",
        offered=services.webhooks,
        webhooks=list_webhooks(services.db, who),
        notices=list_notices(services.db, who),
        most=MOST_WEBHOOKS,
        added=added,
        secret=secret,
        longest=dict(FIELDS),
        values={"url": (values or {}).get("url", "")},
        problems=problems_of(errors),
    )


@router.get(ADDRESS)
def show_webhooks(request: Request, store: Store, who: Who) -> Response:
    """Show the webhooks of whoever is signed in."""
    return to_sign_in(request) if who.account_id is None else render(request, webhooks_page(store, who))


@router.post(ADDRESS)
def post_webhook(request: Request, fields: Fields, store: Store, who: Who) -> Response:
    """Add a webhook and show its key; or show the form again, with what is wrong."""
    require_account(who)  # the answer lists all of them: without it one would be added and its key never shown
    made: list[tuple[WebhookView, str]] = []
    errors = tried(
        lambda: made.append(add_webhook(store.db, who, fields.get("url", ""), offered=store.webhooks)), FIELDS
    )
    if not made:
        return render(request, webhooks_page(store, who, values=fields, errors=errors), status_of(errors))
    response = render(request, webhooks_page(store, who, added=made[0][0], secret=made[0][1]))
    response.headers["Cache-Control"] = "no-store"
    return response


@router.post(f"{ADDRESS}/{{webhook_id}}/ping")
def post_ping(webhook_id: str, store: Store, who: Who) -> Response:
    """Have a message sent that tells of nothing."""
    ping_webhook(store.db, who, webhook_id, offered=store.webhooks)
    return RedirectResponse(f"{ADDRESS}#messages", status_code=303)


@router.post(f"{ADDRESS}/{{webhook_id}}/remove")
def post_remove(webhook_id: str, store: Store, who: Who) -> Response:
    """Remove a webhook."""
    remove_webhook(store.db, who, webhook_id)
    return RedirectResponse(ADDRESS, status_code=303)
