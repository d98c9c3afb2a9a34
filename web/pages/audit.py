"""The log of what people with accounts did, for maintainers."""

from __future__ import annotations

from typing import ClassVar

from fastapi import APIRouter, Request, Response

from benchmark.errors import InvalidInput
from store.actors import Actor
from store.audit import AuditView, list_audit
from store.services import Services
from web.forms import to_sign_in
from web.rendering import Page, render
from web.services import Store, Who

router = APIRouter()

SHOWN = 100
_LONGEST_NUMBER = 9
"""Digits of a record's number; there are no more than the database can count."""


class AuditPage(Page):
    """What was done, the latest first."""

    template: ClassVar[str] = "audit.html"
    section: ClassVar[str] = "moderation"

    records: tuple[AuditView, ...]
    subject: str
    """Only what was done to this is shown; empty for everything."""
    older: int | None
    """The number that the next page begins before; None where there is nothing older."""


def audit_page(services: Services, who: Actor, subject: str = "", before: int | None = None) -> AuditPage:
    """Return what the page of the log shows.

    Raises:
        Forbidden: they are no maintainer.
    """
    found = list_audit(services.db, who, subject=subject or None, before=before, limit=SHOWN + 1)
    return AuditPage(
        title="What was done",
        records=found[:SHOWN],
        subject=subject,
        older=found[SHOWN - 1].id if len(found) > SHOWN else None,
    )


@router.get("/audit")
def show_audit(request: Request, store: Store, who: Who, subject: str = "", before: str = "") -> Response:
    """Show what was done."""
    if who.account_id is None:
        return to_sign_in(request)
    return render(request, audit_page(store, who, subject.strip()[:200], _number(before) if before else None))


def _number(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER:
        return int(text)
    raise InvalidInput.because(
        "before", found=ascii(text)[:80], expected="the number of a record", remedy="follow the link to older records"
    )
