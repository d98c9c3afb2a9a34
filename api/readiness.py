"""Questions to the parts that the service needs: asked one at a time, and never waited for long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Annotated, Generic, Literal, TypeVar

from fastapi import Depends, Request

from store.readiness import NotReady, check_blobs, check_database
from store.services import Services

LIMIT_S = 3.0

T = TypeVar("T")
Broker = Literal["none", "up", "down"]


class Probes:
    """What tells whether the service is ready.

    Args:
        services: the store.
        broker: tells whether the broker answers; None where there is none.
        limit_s: time after which a part counts as silent.
    """

    def __init__(
        self, services: Services, broker: Callable[[], bool] | None = None, *, limit_s: float = LIMIT_S
    ) -> None:
        self._needed = {
            "database": _Probe(partial(_failure_of, check_database, services.db), limit_s),
            "blobs": _Probe(partial(_failure_of, check_blobs, services.blobs), limit_s),
        }
        self._broker = None if broker is None else _Probe(broker, limit_s)

    async def ask(self) -> Broker:
        """Return how the broker is, once everything needed is well.

        Raises:
            NotReady: something needed is not.
        """
        broker, failures = await asyncio.gather(self._ask_broker(), self._ask_needed())
        if failures:
            raise failures[0]
        return broker

    async def _ask_needed(self) -> list[NotReady]:
        found = await asyncio.gather(*(_ask_part(part, probe) for part, probe in self._needed.items()))
        return [failure for failure in found if failure is not None]

    async def _ask_broker(self) -> Broker:
        if self._broker is None:
            return "none"
        try:
            return "up" if await self._broker.answer() else "down"
        except TimeoutError:
            return "down"


class _Probe(Generic[T]):
    """A question that may hang: whoever asks while it is under way waits for the same answer."""

    def __init__(self, ask: Callable[[], T], limit_s: float) -> None:
        self._ask = ask
        self._limit_s = limit_s
        self._asked: asyncio.Future[T] | None = None

    async def answer(self) -> T:
        """Return the answer; TimeoutError where there is none yet."""
        if self._asked is None or self._asked.done():
            self._asked = asyncio.ensure_future(asyncio.to_thread(self._ask))
        return await asyncio.wait_for(asyncio.shield(self._asked), self._limit_s)


async def _ask_part(part: str, probe: _Probe[NotReady | None]) -> NotReady | None:
    try:
        return await probe.answer()
    except TimeoutError:
        return NotReady.because(
            part,
            found="did not answer in time",
            expected="an answer within seconds",
            remedy="see whether it is overloaded, and mend the way to it",
        )


def _failure_of(check: Callable[[T], None], part: T) -> NotReady | None:
    try:
        check(part)
    except NotReady as failure:
        return failure
    return None


def _probes(request: Request) -> Probes:
    probes = request.app.state.probes
    if not isinstance(probes, Probes):
        raise TypeError("the application was not made by gauntlet.app.create_app")
    return probes


Ready = Annotated[Probes, Depends(_probes)]
