"""What happens to a submission, told as it happens: server-sent events."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress

from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from store.errors import QueueFull
from store.views import SubmissionView

LOOK_S = 1.0
"""Seconds between two looks."""
BEAT_S = 15.0
"""Seconds after which a line is sent though nothing happened, so that nobody in between thinks the stream dead."""
MOST_STREAMS, MOST_STREAMS_EACH = 200, 8
MEDIA_TYPE = "text/event-stream"
HEAD_ONLY = "gauntlet.head_only"
"""In a request's scope where it asks for a GET's headers alone: a body without end must not be begun for it."""


class Streams:
    """The streams that are open, in all and for each of those who listen.

    Args:
        most: in all.
        most_each: for one.
    """

    def __init__(self, most: int = MOST_STREAMS, most_each: int = MOST_STREAMS_EACH) -> None:
        self._most = most
        self._most_each = most_each
        self._open: Counter[str] = Counter()

        self._closing = asyncio.Event()

    @contextmanager
    def counted(self, listener: str) -> Iterator[None]:
        """Count a stream for as long as it is open.

        Raises:
            QueueFull: there are too many.
        """
        if self._open.total() >= self._most or self._open[listener] >= self._most_each:
            raise QueueFull("Too many streams are open. Close one, or ask for the submission now and then instead.")
        self._open[listener] += 1
        try:
            yield
        finally:
            self._open[listener] -= 1
            if not self._open[listener]:
                del self._open[listener]

    def close(self) -> None:
        """End all streams, for the service stops; whoever listens can ask again where it starts anew."""
        self._closing.set()

    async def closed_within(self, seconds: float) -> bool:
        """Wait, and tell whether the streams are to end."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)
        return self._closing.is_set()


class CountedStream(StreamingResponse):
    """A stream that counts from before its first byte, so that many asked for at once cannot be too many.

    Args:
        content: what is told.
        streams: the streams that are open.
        listener: who listens.
    """

    def __init__(self, content: AsyncIterator[str], streams: Streams, listener: str) -> None:
        super().__init__(content, media_type=MEDIA_TYPE, headers={"Cache-Control": "no-store"})
        self._streams = streams
        self._listener = listener

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Tell it to whoever listens."""
        with self._streams.counted(self._listener):
            await super().__call__(scope, receive, send)


async def changes(
    look: Callable[[], SubmissionView],
    ended: Callable[[SubmissionView], bool],
    streams: Streams,
    last_id: str | None = None,
) -> AsyncIterator[str]:
    """Yield the submission at once and whenever it has changed, until it has ended.

    Args:
        look: finds out how it stands.
        ended: tells whether nothing more will happen.
        streams: tell when the service stops.
        last_id: what whoever asks has heard last; that is not told again.
    """
    clock = asyncio.get_running_loop().time
    told = clock()
    while True:
        view = await run_in_threadpool(look)
        content = view.model_dump_json()
        event_id = _id_of(content)
        if event_id != last_id:
            yield as_event(content)
            last_id, told = event_id, clock()
        elif clock() - told >= BEAT_S:
            yield ": still here\n\n"
            told = clock()
        if ended(view) or await streams.closed_within(LOOK_S):
            return


def as_event(content: str) -> str:
    """Return a submission's JSON as an event, with an id that follows from it."""
    return f"id: {_id_of(content)}\nevent: submission\ndata: {content}\n\n"


def _id_of(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()[:16]
