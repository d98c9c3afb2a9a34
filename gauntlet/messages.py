"""How messages to people leave this service, as its settings say."""

from __future__ import annotations

from gauntlet.settings import Settings
from store.notices import Channel
from store.services import Services
from store.sweeping import SENDER
from worker.mail import Mailer
from worker.messaging import Send
from worker.sender import Sender
from worker.sweeper import Role
from worker.webhook_calls import WebhookCaller


def make_sender(settings: Settings, services: Services, name: str) -> Sender:
    """Return what sends the messages that wait; it is not started yet.

    Args:
        settings: those of the service.
        services: the store.
        name: of the process, that no other bears.
    """
    return Sender(services, Role(services, SENDER, name, settings.lease_ms), ways_of(settings))


def ways_of(settings: Settings) -> dict[Channel, Send]:
    """Return the ways of sending that the settings open."""
    base = settings.public_url or ""
    ways: dict[Channel, Send] = {}
    if settings.smtp_url is not None and settings.mail_from is not None:
        ways[Channel.EMAIL] = Mailer.at(settings.smtp_url, settings.mail_from, base).send
    if settings.webhooks == "on":
        ways[Channel.WEBHOOK] = WebhookCaller(base).send
    return ways
