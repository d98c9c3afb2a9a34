"""A submission's changes as a stream, and its log."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse, StreamingResponse

from api.errors import responses
from api.events import HEAD_ONLY, MEDIA_TYPE, CountedStream, Streams, as_event, changes
from api.examples import LOG, SUBMISSION
from api.routes.submissions import SubmissionId
from api.schemas import LogLines
from api.services import Store, Who
from store.states import LEGAL
from store.submission_log import read_log
from store.submissions import get_submission
from store.submitters import submitter_of
from store.views import State, SubmissionView

router = APIRouter(prefix="/submissions", tags=["submissions"])


def _as_text(log: LogLines) -> str:
    return "".join(f"{line.as_text()}\n" for line in log.lines)


@router.get(
    "/{submission_id}/events",
    response_class=StreamingResponse,
    responses={
        200: {
            "content": {MEDIA_TYPE: {"schema": {"type": "string"}, "example": as_event(SUBMISSION.model_dump_json())}},
            "description": "Events named `submission` with the submission as JSON; the last has its final state.",
        },
        **responses(404, 503),
    },
)
async def stream_submission(
    submission_id: SubmissionId,
    *,
    request: Request,
    store: Store,
    who: Who,
    last_event_id: Annotated[str | None, Header(description="The id of the event heard last", max_length=100)] = None,
) -> Response:
    """Tell of a submission at once and whenever it changes, until its state is final."""
    look = partial(get_submission, store.db, submission_id, who)
    await run_in_threadpool(look)
    address = request.client.host if request.client else ""
    listener = await run_in_threadpool(submitter_of, store.db, who, address)
    streams: Streams = request.app.state.streams
    told = _nothing() if request.scope.get(HEAD_ONLY) else changes(look, _has_ended, streams, last_event_id)
    return CountedStream(told, streams, listener)


@router.get(
    "/{submission_id}/log",
    response_model=LogLines,
    responses=responses(404)
    | {
        200: {
            "content": {"text/plain": {"schema": {"type": "string"}, "example": _as_text(LOG)}},
            "description": "The log",
        }
    },
)
def read_submission_log(submission_id: SubmissionId, *, request: Request, store: Store, who: Who) -> Response:
    """Tell what happened to a submission, line by line: as JSON, or as text for those who ask for `text/plain`."""
    lines = read_log(store.db, submission_id, who)
    if "text/plain" in request.headers.get("accept", ""):
        return PlainTextResponse(_as_text(LogLines(lines=lines)))
    return Response(LogLines(lines=lines).model_dump_json(), media_type="application/json")


def _has_ended(view: SubmissionView) -> bool:
    """Tell whether nothing more will happen by itself."""
    return view.state == State.PUBLISHED or not LEGAL[view.state]


async def _nothing() -> AsyncIterator[str]:
    events: tuple[str, ...] = ()
    for event in events:
        yield event
