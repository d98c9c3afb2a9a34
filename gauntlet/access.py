"""Every request as it was handled: measured once, for the log and for the figures."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gauntlet.logs import FIELDS

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
UNMATCHED = "unmatched"
CLIENT_GONE = 499
"""Status of a request whose client went away before it was answered; no server sends it, nginx writes it to its log."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Handled:
    """A request after its answer. Nothing in it is text of the client's.

    Args:
        method: its method; "OTHER" where HTTP knows none of that name.
        route: template of the path, such as "/submissions/{submission_id}"; "unmatched" where there is no such address.
        status: status of the answer.
        seconds: time until the answer was complete.
    """

    method: str
    route: str
    status: int
    seconds: float


def log_request(handled: Handled) -> None:
    """Write a line of the access log."""
    fields = {
        "method": handled.method,
        "route": handled.route,
        "status": handled.status,
        "ms": round(handled.seconds * 1000, 1),
    }
    logger.info("%(method)s %(route)s %(status)s in %(ms)s ms", fields, extra={FIELDS: fields})


class Access:
    """Measure every request.

    Args:
        app: what handles them.
        api_prefix: where the API's routes begin; they know themselves only from there on.
        tell: called with each request that was handled.
    """

    def __init__(self, app: ASGIApp, api_prefix: str, tell: tuple[Callable[[Handled], None], ...]) -> None:
        self.app = app
        self.api_prefix = api_prefix
        self.tell = tell

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = CLIENT_GONE

        async def watched_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        began = time.perf_counter()
        try:
            await self.app(scope, receive, watched_send)
        finally:
            method = scope["method"] if scope["method"] in METHODS else "OTHER"
            handled = Handled(method, self._route(scope), status, time.perf_counter() - began)
            for tell in self.tell:
                tell(handled)

    def _route(self, scope: Scope) -> str:
        path, template = scope["path"], getattr(scope.get("route"), "path", None)
        if isinstance(template, str):
            of_the_api = path.startswith(f"{self.api_prefix}/") and not template.startswith(f"{self.api_prefix}/")
            return f"{self.api_prefix}{template}" if of_the_api else template
        return "/static/{path}" if path.startswith("/static/") else UNMATCHED
