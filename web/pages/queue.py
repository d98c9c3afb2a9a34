"""The queue and the workers, for maintainers, and the buttons by which they step in."""

from __future__ import annotations

import itertools
import re
from typing import Annotated, ClassVar

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse

from benchmark.errors import InvalidInput
from store.actors import Actor
from store.admission import LONGEST_REASON
from store.database import GREATEST_NUMBER
from store.intervention import fail_by_service, requeue, send_again
from store.queue import MOST_PRIORITY, Piece, set_priority
from store.queue_views import SILENT_AFTER_MS, QueueView, Standing, WorkView, view_work, view_work_queue
from store.services import Services
from store.states import LEGAL
from store.views import State
from store.workers import WorkerView, drain
from web.formats import age, count
from web.forms import SHORT, room_for, to_sign_in
from web.rendering import Page, render, submission_address
from web.services import Store, Who
from web.urlencoded import texts_in

router = APIRouter()

HERE = "queue"
REFRESH_S = 15
_FIELDS = {"reason": room_for(LONGEST_REASON), "priority": SHORT}
_WHOLE = re.compile(r"[+-]?[0-9]{1,6}")
STILL_AFTER_MS = 300_000
"""Time after which work that does not go on may hang, though its worker shows life."""

PieceNumber = Annotated[int, Path(ge=1, le=GREATEST_NUMBER)]


class WaitingLine(BaseModel):
    """Pieces of work that wait one after the other and differ in their points alone."""

    model_config = ConfigDict(frozen=True)

    first: Piece
    pieces: int
    last: int
    """One past the last point of all of them."""
    fits: bool
    """Whether somebody claims such work."""


class WorkerLine(BaseModel):
    """A worker, and what it does."""

    model_config = ConfigDict(frozen=True)

    worker: WorkerView
    lost: bool
    """Whether it has shown no sign of life for so long that it may be gone."""
    holds: tuple[Piece, ...]


class QueuePage(Page):
    """The queue, who works, and whether that is well."""

    template: ClassVar[str] = "queue.html"
    section: ClassVar[str] = "moderation"

    view: QueueView
    still_after_ms: int
    well: bool
    verdict: str
    """Whether the queue is well, in a sentence or two."""
    hanging: str
    """How much of the work that somebody holds may hang, in a sentence; empty where none does."""
    at_work: tuple[Piece, ...]
    waiting: tuple[WaitingLine, ...]
    left_out: int
    """Pieces of work that wait and are not among the lines."""
    workers: tuple[WorkerLine, ...]
    counts: tuple[tuple[State, int], ...]
    """How many submissions are in each state; states without any are left out."""


class WorkPage(Page):
    """A submission and the work on it, with all that a maintainer may do about it."""

    template: ClassVar[str] = "work.html"
    section: ClassVar[str] = "moderation"

    work: WorkView
    fallible: bool
    """Whether it can still be cancelled, or failed for the service's sake."""
    cancellable: bool
    repeatable: bool
    still_after_ms: int
    longest_reason: int
    most_priority: int


def queue_page(services: Services, who: Actor) -> QueuePage:
    """Return what the page of the queue shows.

    Raises:
        Forbidden: they are no maintainer.
    """
    view = view_work_queue(services.db, services.blobs, who)
    at_work = tuple(piece for piece in view.pieces if piece.state == "running")
    waiting = _waiting(view)
    return QueuePage(
        title="The queue",
        refresh_s=REFRESH_S,
        view=view,
        still_after_ms=STILL_AFTER_MS,
        well=view.standing in {Standing.EMPTY, Standing.FINE},
        verdict=verdict(view),
        hanging=_of_hanging(sum(_hangs(piece) for piece in at_work)),
        at_work=at_work,
        waiting=waiting,
        left_out=view.queued - sum(line.pieces for line in waiting),
        workers=tuple(
            WorkerLine(
                worker=worker,
                lost=worker.silent_ms >= SILENT_AFTER_MS,
                holds=tuple(piece for piece in at_work if piece.worker == worker.name),
            )
            for worker in view.workers
        ),
        counts=tuple((state, view.submissions[state]) for state in State if view.submissions[state]),
    )


def work_page(services: Services, submission_id: str, who: Actor) -> WorkPage:
    """Return what the page on which maintainers step in shows of a submission.

    Raises:
        Forbidden: they are no maintainer.
        NotFound: there is no such submission.
    """
    work = view_work(services.db, submission_id, who)
    view = work.submission
    return WorkPage(
        title=f"{view.submission.name} · Step in",
        work=work,
        fallible=State.FAILED in LEGAL[view.state],
        cancellable=State.CANCELLED in LEGAL[view.state],
        repeatable=view.state is State.FAILED and view.fault == "service",
        still_after_ms=STILL_AFTER_MS,
        longest_reason=LONGEST_REASON,
        most_priority=MOST_PRIORITY,
    )


@router.get("/queue")
def show_queue(request: Request, store: Store, who: Who) -> Response:
    """Show the queue."""
    if who.account_id is None:
        return to_sign_in(request)
    return render(request, queue_page(store, who))


@router.get("/queue/{submission_id}")
def show_work(request: Request, submission_id: str, store: Store, who: Who) -> Response:
    """Show the work on a submission."""
    if who.account_id is None:
        return to_sign_in(request)
    return render(request, work_page(store, submission_id, who))


@router.post("/queue/pieces/{piece}/requeue")
def requeue_piece(piece: PieceNumber, store: Store, who: Who) -> Response:
    """Take a piece of work away from whoever holds it, or let it go on."""
    requeue(store.db, piece, who)
    return _to_queue()


@router.post("/queue/workers/{name}/drain")
def drain_worker(name: str, store: Store, who: Who) -> Response:
    """Let a worker claim nothing more."""
    drain(store.db, name, who)
    return _to_queue()


@router.post("/queue/workers/{name}/resume")
def resume_worker(name: str, store: Store, who: Who) -> Response:
    """Let a worker claim work again."""
    drain(store.db, name, who, draining=False)
    return _to_queue()


@router.post("/submissions/{submission_id}/fail")
async def fail_submission(request: Request, submission_id: str, store: Store, who: Who) -> Response:
    """Give a submission up, through no fault of its model's."""
    sent = await texts_in(request, _FIELDS)
    await run_in_threadpool(fail_by_service, store.db, submission_id, sent["reason"], who)
    return RedirectResponse(work_address(submission_id), status_code=303)


@router.post("/submissions/{submission_id}/priority")
async def prioritise_submission(request: Request, submission_id: str, store: Store, who: Who) -> Response:
    """Give the work of a submission another place in the queue."""
    sent = await texts_in(request, _FIELDS)
    await run_in_threadpool(set_priority, store.db, submission_id, _priority_in(sent["priority"]), who)
    return RedirectResponse(work_address(submission_id), status_code=303)


@router.post("/submissions/{submission_id}/send-again")
def send_submission_again(submission_id: str, store: Store, who: Who) -> Response:
    """Take a submission in anew that failed through the service."""
    view = send_again(store.db, store.blobs, store.admission, submission_id, who)
    return RedirectResponse(submission_address(view.id), status_code=303)


def verdict(view: QueueView) -> str:
    """Say whether the queue is well, and what is to be done where it is not."""
    if view.oldest_waiting_ms is None:
        return "Nothing waits."
    oldest = f"The oldest has been waiting for {age(view.oldest_waiting_ms)}."
    match view.standing:
        case Standing.IDLE:
            return f"{oldest} No worker claims anything: start one, or let one that is drained claim work again."
        case Standing.UNFIT:
            kinds = ", ".join(f"{count(kin.pieces)} on {kin.dataset}/{kin.threat_model}" for kin in view.unfit)
            return f"{oldest} Some of it no worker can run that claims work now: {kinds}."
        case Standing.LONG:
            return f"{oldest} That is too long: all workers are busy, and another one would help."
        case _:
            return f"{oldest} That is fine: workers claim what they can run."


def _hangs(piece: Piece) -> bool:
    """Tell whether a piece of work does not go on, or nobody has shown life who holds it."""
    run_out = piece.lease_ms is not None and piece.lease_ms < 0
    return run_out or (piece.standing_ms is not None and piece.standing_ms >= STILL_AFTER_MS)


def _of_hanging(pieces: int) -> str:
    if not pieces:
        return ""
    which = "One piece of work that somebody holds" if pieces == 1 else f"{count(pieces)} pieces of work"
    return f"{which} may hang: see below what stands still, or whose lease has run out."


def work_address(submission_id: str) -> str:
    """Return the address of the page on which maintainers step in."""
    return submission_address(submission_id).replace("/submissions/", "/queue/", 1)


def _waiting(view: QueueView) -> tuple[WaitingLine, ...]:
    unfit = {(kin.dataset, kin.threat_model, kin.needs_cuda) for kin in view.unfit}
    queued = (piece for piece in view.pieces if piece.state == "queued")
    lines = []
    for _, group in itertools.groupby(
        queued, lambda it: (it.submission_id, it.purpose, it.kind, it.priority, it.attempt)
    ):
        pieces = list(group)
        first = pieces[0]
        lines.append(
            WaitingLine(
                first=first,
                pieces=len(pieces),
                last=max(piece.last for piece in pieces),
                fits=(first.dataset, first.threat_model, first.needs_cuda) not in unfit,
            )
        )
    return tuple(lines)


def _priority_in(text: str) -> int:
    if _WHOLE.fullmatch(text.strip()):
        return int(text)
    raise InvalidInput.because(
        "priority", found=ascii(text)[:80], expected=f"a whole number from -{MOST_PRIORITY} to {MOST_PRIORITY}",
        remedy="0 is normal, and the greater is claimed first",
    )  # fmt: skip


def _to_queue() -> Response:
    return RedirectResponse("/queue", status_code=303)
