"""What waits for maintainers, and the buttons by which people decide about submissions."""

from __future__ import annotations

from typing import ClassVar

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse

from store.actors import Actor
from store.admission import LONGEST_REASON
from store.again import evaluate_again
from store.analyses import analyse
from store.moderation import approve, decline, restore, reveal, withdraw
from store.moderation_views import ModerationView, view_moderation
from store.services import Services
from web.forms import SHORT, room_for, to_sign_in
from web.rendering import Page, render, submission_address
from web.services import Store, Who
from web.urlencoded import texts_in

router = APIRouter()

HERE = "moderation"
_FIELDS = {"reason": room_for(LONGEST_REASON), "back": SHORT}


class ModerationPage(Page):
    """Pending approvals, flagged entries and recent withdrawals."""

    template: ClassVar[str] = "moderation.html"
    section: ClassVar[str] = HERE

    waiting: ModerationView
    longest_reason: int


def moderation_page(services: Services, who: Actor) -> ModerationPage:
    """Return what the page of maintainers shows.

    Raises:
        Forbidden: they are no maintainer.
    """
    return ModerationPage(title="Moderation", waiting=view_moderation(services.db, who), longest_reason=LONGEST_REASON)


@router.get("/moderation")
def show_moderation(request: Request, store: Store, who: Who) -> Response:
    """Show what waits for maintainers."""
    if who.account_id is None:
        return to_sign_in(request)
    return render(request, moderation_page(store, who))


@router.post("/submissions/{submission_id}/approve")
async def approve_submission(request: Request, submission_id: str, store: Store, who: Who) -> Response:
    """Publish what waits."""
    sent = await texts_in(request, _FIELDS)
    await run_in_threadpool(approve, store.db, store.blobs, submission_id, who)
    return _back(sent, submission_id)


@router.post("/submissions/{submission_id}/decline")
async def decline_submission(request: Request, submission_id: str, store: Store, who: Who) -> Response:
    """Decline to publish what waits."""
    sent = await texts_in(request, _FIELDS)
    await run_in_threadpool(decline, store.db, submission_id, who, sent["reason"])
    return _back(sent, submission_id)


@router.post("/submissions/{submission_id}/withdraw")
async def withdraw_submission(request: Request, submission_id: str, store: Store, who: Who) -> Response:
    """Take an entry off its board."""
    sent = await texts_in(request, _FIELDS)
    await run_in_threadpool(withdraw, store.db, submission_id, who, sent["reason"])
    return _back(sent, submission_id)


@router.post("/submissions/{submission_id}/restore")
async def restore_submission(request: Request, submission_id: str, store: Store, who: Who) -> Response:
    """Put an entry back on its board."""
    sent = await texts_in(request, _FIELDS)
    await run_in_threadpool(restore, store.db, submission_id, who)
    return _back(sent, submission_id)


@router.post("/submissions/{submission_id}/reveal")
def reveal_submission(submission_id: str, store: Store, who: Who) -> Response:
    """Say who made what is anonymous."""
    reveal(store.db, submission_id, who)
    return RedirectResponse(submission_address(submission_id), status_code=303)


@router.post("/submissions/{submission_id}/re-evaluate")
async def evaluate_submission_again(request: Request, submission_id: str, store: Store, who: Who) -> Response:
    """Queue another evaluation of an entry."""
    sent = await texts_in(request, _FIELDS)
    await run_in_threadpool(evaluate_again, store.db, store.blobs, submission_id, who)
    return _back(sent, submission_id)


@router.post("/submissions/{submission_id}/analyse")
async def analyse_submission(request: Request, submission_id: str, store: Store, who: Who) -> Response:
    """Have an entry analysed."""
    sent = await texts_in(request, _FIELDS)
    await run_in_threadpool(analyse, store.db, store.blobs, submission_id, who)
    return _back(sent, submission_id)


def _back(sent: dict[str, str], submission_id: str) -> Response:
    address = "/moderation" if sent["back"] == HERE else submission_address(submission_id)
    return RedirectResponse(address, status_code=303)
