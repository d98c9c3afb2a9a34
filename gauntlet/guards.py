"""What every request passes before it reaches the API or a page, and what every answer bears."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import BodyMissing
from api.events import HEAD_ONLY
from api.validation import shown
from benchmark.errors import GauntletError, InvalidInput, TooLarge

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
SILENCE_S = 90.0
"""Seconds without a byte of a body after which a request is given up: each takes a connection, and maybe a file."""
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
YEAR_S = 365 * 24 * 3600


class CrossSiteRequest(InvalidInput):
    """A page of another site tried to change something here."""

    code = "cross_site_request"


class MisdirectedRequest(InvalidInput):
    """The request is addressed to a name that this service does not bear."""

    code = "misdirected_request"


class AmbiguousLength(InvalidInput):
    """The request says in two ways where it ends, and whoever is in front of the service may believe the other one."""

    code = "ambiguous_length"


async def refuse(error: GauntletError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the application's own error handler, so that guards refuse in the same shape as routes."""
    response = await scope["app"].exception_handlers[GauntletError](Request(scope), error)
    await response(scope, receive, send)


class HeadAsGet:
    """Answer HEAD as GET: the server leaves the body out by itself, and no route need know of it.

    Args:
        app: what answers.
        unless: beginning of the paths whose routes answer HEAD themselves.
    """

    def __init__(self, app: ASGIApp, unless: str) -> None:
        self.app = app
        self.unless = unless

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD" or scope["path"].startswith(self.unless):
            await self.app(scope, receive, send)
            return
        # A copy: the server looks at its own to leave the body out.
        asked: Scope = {**scope, "method": "GET", HEAD_ONLY: True}
        try:
            await self.app(asked, receive, send)
        finally:
            scope["route"] = asked.get("route")


class SecurityHeaders:
    """Set the headers that keep a browser from doing what no page of ours asks for."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
                headers["X-Content-Type-Options"] = "nosniff"
                headers.setdefault("Referrer-Policy", "same-origin")  # a page with a secret address tells even less
                headers["Cross-Origin-Opener-Policy"] = "same-origin"
                if scope["scheme"] == "https":
                    headers["Strict-Transport-Security"] = f"max-age={YEAR_S}"
            await send(message)

        await self.app(scope, receive, send_with_headers)


class KnownHost:
    """Refuse requests addressed to other names: a foreign page whose name was pointed here (DNS rebinding) bears one.

    Args:
        app: what is guarded.
        hosts: host names without port; "*" allows all.
    """

    def __init__(self, app: ASGIApp, hosts: tuple[str, ...]) -> None:
        self.app = app
        self.hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and "*" not in self.hosts:
            host = Headers(scope=scope).get("host", "")
            if _host_name(host) not in self.hosts:
                error = MisdirectedRequest.because(
                    "Host",
                    found=shown(host),
                    expected=f"one of {', '.join(sorted(self.hosts))}",
                    remedy="use such an address, or add the name to the setting allowed_hosts",
                )
                await refuse(error, scope, receive, send)
                return
        await self.app(scope, receive, send)


class SameSite:
    """Refuse requests that change something and that a browser sends on behalf of another site."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in SAFE_METHODS:
            headers = Headers(scope=scope)
            # Programs send neither header; every browser sends one of them with such a request.
            site, origin = headers.get("sec-fetch-site"), headers.get("origin")
            foreign = (
                site not in {"same-origin", "none"}
                if site is not None
                else origin is not None and origin.partition("://")[2] != headers.get("host")
            )
            if foreign:
                error = CrossSiteRequest.because(
                    "Origin",
                    found=shown(origin or site),
                    expected="a request from a page of this service",
                    remedy="open the page of this service and send it from there",
                )
                await refuse(error, scope, receive, send)
                return
        await self.app(scope, receive, send)


class BodyLimit:
    """Refuse bodies above a limit: at once where they announce their size, else when they reach it.

    And those that announce it in two ways, or never come to their end.

    Args:
        app: what is guarded.
        default: limit in bytes.
        larger: other limits, by method and the beginning of the path.
        silence_s: seconds without a byte after which a body is given up.
    """

    def __init__(
        self, app: ASGIApp, default: int, larger: Mapping[tuple[str, str], int], silence_s: float = SILENCE_S
    ) -> None:
        self.app = app
        self.default = default
        self.larger = dict(larger)
        self.silence_s = silence_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if "transfer-encoding" in headers and "content-length" in headers:
            error = AmbiguousLength.because(
                "Content-Length", found="it and Transfer-Encoding", expected="one of them", remedy="leave one out"
            )
            await refuse(error, scope, receive, send)
            return
        limit, received = self._limit(scope), 0
        declared = headers.get("content-length", "")
        # Compared by length first: Python refuses to read numbers of thousands of digits.
        if declared.isdecimal() and (len(declared) > 18 or int(declared) > limit):
            await refuse(_too_large(f"{declared[:18]} bytes", limit), scope, receive, send)
            return

        ended = False

        async def receive_within_limit() -> Message:
            nonlocal received, ended
            try:
                # After the body nothing comes but the end of the connection, and streams wait for that.
                message = await asyncio.wait_for(receive(), None if ended else self.silence_s)
            except TimeoutError:
                raise _silent(self.silence_s) from None
            ended = not message.get("more_body", False)
            received += len(message.get("body", b""))
            if received > limit:
                raise _too_large(f"more than {limit} bytes", limit)
            return message

        await self.app(scope, receive_within_limit, send)

    def _limit(self, scope: Scope) -> int:
        for (method, path), limit in self.larger.items():
            if scope["method"] == method and scope["path"].startswith(path):
                return limit
        return self.default


def _too_large(found: str, limit: int) -> TooLarge:
    return TooLarge.because("body", found=found, expected=f"at most {limit} bytes", remedy="send less at once")


def _silent(seconds: float) -> BodyMissing:
    return BodyMissing.because(
        "body", found=f"no byte for {seconds:g} seconds", expected="bytes without such pauses",
        remedy="send it again, a large file in parts",
    )  # fmt: skip


def _host_name(host: str) -> str:
    name = host.lower()
    if name.startswith("["):  # an IPv6 address
        name, _, port = name[1:].partition("]")
        return name if not port or port.startswith(":") else ""
    return name.partition(":")[0]
