"""The queue and the workers, for maintainers, and how they step in."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from api.errors import responses
from api.schemas import Requeued
from api.services import Store, Who
from store.database import GREATEST_NUMBER
from store.intervention import requeue
from store.queue_views import QueueView, view_work_queue
from store.workers import drain

router = APIRouter(prefix="/queue", tags=["moderation"], responses=responses(401, 403))

Piece = Annotated[int, Path(ge=1, le=GREATEST_NUMBER, description="Number of a piece of work, as the queue shows it")]
WorkerName = Annotated[str, Path(max_length=200, description="Name of a worker, as the queue shows it")]


@router.get("")
def read_queue(store: Store, who: Who) -> QueueView:
    """Return what waits and runs, who works, how long the oldest has been waiting, and what has failed lately."""
    return view_work_queue(store.db, store.blobs, who)


@router.post("/pieces/{piece}/requeue", responses=responses(404, 409))
def requeue_piece(piece: Piece, store: Store, who: Who) -> Requeued:
    """Let anybody claim a piece of work that somebody holds, or that has failed; whoever held it can write nothing
    more."""
    return Requeued(pieces=requeue(store.db, piece, who))


@router.post("/workers/{name}/drain", status_code=204, responses=responses(404))
def drain_worker(name: WorkerName, store: Store, who: Who) -> None:
    """Let a worker finish what it holds and claim nothing more."""
    drain(store.db, name, who)


@router.post("/workers/{name}/resume", status_code=204, responses=responses(404))
def resume_worker(name: WorkerName, store: Store, who: Who) -> None:
    """Let a worker that was drained claim work again."""
    drain(store.db, name, who, draining=False)
