"""What happens to a submission, told as it happens: server-sent events."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

from starlette.concurrency import run_in_threadpool

from store.errors import QueueFull
from store.views import SubmissionView

LOOK_S = 1.0
"""Seconds between two looks."""
BEAT_S = 15.0
"""Seconds after which a line is sent though nothing happened, so that nobody in between thinks the stream dead."""
MOST_STREAMS, MOST_STREAMS_EACH = 200, 8
MEDIA_TYPE = "text/event-stream"


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

    def require_room(self, listener: str) -> None:
        """Refuse one stream too many.

        Raises:
            QueueFull: there are too many.
        """
        if self._open.total() >= self._most or self._open[listener] >= self._most_each:
            raise QueueFull("Too many streams are open. Close one, or ask for the submission now and then instead.")

    @contextmanager
    def counted(self, listener: str) -> Iterator[None]:
        """Count a stream for as long as it is open."""
        self._open[listener] += 1
        try:
            yield
        finally:
            self._open[listener] -= 1
            if not self._open[listener]:
                del self._open[listener]


async def changes(
    look: Callable[[], SubmissionView], ended: Callable[[SubmissionView], bool], last_id: str | None = None
) -> AsyncIterator[str]:
    """Yield the submission at once and whenever it has changed, until it has ended.

    Args:
        look: finds out how it stands.
        ended: tells whether nothing more will happen.
        last_id: what whoever asks has heard last; that is not told again.
    """
    clock = asyncio.get_running_loop().time
    told = clock()
    while True:
        view = await run_in_threadpool(look)
        content = view.model_dump_json()
        event_id = hashlib.sha256(content.encode()).hexdigest()[:16]
        if event_id != last_id:
            yield f"id: {event_id}\nevent: submission\ndata: {content}\n\n"
            last_id, told = event_id, clock()
        elif clock() - told >= BEAT_S:
            yield ": still here\n\n"
            told = clock()
        if ended(view):
            return
        await asyncio.sleep(LOOK_S)
