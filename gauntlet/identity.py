"""Who asks: found once for each request, before any route, from its token or its cookie."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gauntlet.guards import refuse
from store.actors import Actor, SignInNeeded
from store.database import Database
from store.secret_texts import TOKEN_PREFIX
from store.sign_in import SESSION_MS, who_has_session, who_has_token

ACTOR = "actor"
"""Where routes find who asks: `request.state.actor`."""
SIGNED_IN = "signed_in"
"""Where a page leaves the secret of a session that it has begun, or None where it has ended one."""
SESSION = "session"
"""Where the page that signs somebody out finds the secret of their session."""
_COOKIE = "gauntlet_session"
_FOR_ANYBODY = ("/static/", "/healthz", "/readyz", "/metrics", "/internal/")
"""Addresses whose answers depend on nobody's account."""


def cookie_name(scheme: str) -> str:
    """Return the cookie's name: over https one that no other host and no plain connection can set."""
    return f"__Host-{_COOKIE}" if scheme == "https" else _COOKIE


class Identity:
    """Find out who asks, and set the cookie of those who have just signed in or out.

    A bearer token of another kind, such as a worker's, is left to the route that knows it.

    Args:
        app: what is asked.
        db: the database of accounts.
        open_house: whether work is taken from people without an account.
    """

    def __init__(self, app: ASGIApp, db: Database, *, open_house: bool) -> None:
        self.app = app
        self.db = db
        self.open_house = open_house

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(_FOR_ANYBODY):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if len(headers.getlist("authorization")) > 1:  # whoever is in front may have looked at another of them
            await refuse(_unauthorized("more than one", "one token of an account"), scope, receive, send)
            return
        kind, _, token = headers.get("authorization", "").partition(" ")
        cookie = _only_cookie(headers, cookie_name(scope["scheme"]))
        state = scope.setdefault("state", {})
        found: Actor | None = None
        if kind.lower() == "bearer" and token.strip().startswith(TOKEN_PREFIX):
            cookie = None  # whoever shows a token does nothing with the session of a browser
            found = await run_in_threadpool(who_has_token, self.db, token.strip())
            if found is None:
                error = _unauthorized("a token that has ended, was revoked or never was", "a token of an account")
                await refuse(error, scope, receive, send)
                return
        elif cookie:
            found = await run_in_threadpool(who_has_session, self.db, cookie)
            if found is None:
                state[SIGNED_IN] = None  # the browser may forget it
        state[ACTOR] = (found or Actor()).model_copy(update={"open_house": self.open_house})
        state[SESSION] = cookie if found is not None else None
        await self.app(scope, receive, self._with_cookie(scope, send))

    def _with_cookie(self, scope: Scope, send: Send) -> Send:
        async def send_with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers, state = MutableHeaders(scope=message), scope["state"]
                if state[ACTOR].account_id is not None:
                    # What one account may see, no cache between us and them keeps for another.
                    headers.setdefault("Cache-Control", "private, no-store")
                if SIGNED_IN in state:
                    # Nor a cookie, whatever the page itself allows: another would be signed in or out by it.
                    headers["Cache-Control"] = "private, no-store"
                    headers.append("Set-Cookie", _cookie(scope["scheme"], state[SIGNED_IN]))
            await send(message)

        return send_with_cookie


def _only_cookie(headers: Headers, name: str) -> str | None:
    """Return what the cookie holds; None where there are several.

    Without https, whatever else runs on this machine can set one too, even one that browsers send first.
    """
    cookies = "; ".join(headers.getlist("cookie"))
    names = [part.partition("=")[0].strip() for part in cookies.split(";")]
    return cookie_parser(cookies).get(name) if names.count(name) == 1 else None


def _unauthorized(found: str, expected: str) -> SignInNeeded:
    return SignInNeeded.because(
        "Authorization", found=found, expected=expected, remedy="make a new one on the page of your account"
    )


def _cookie(scheme: str, secret: str | None) -> str:
    secure = "; Secure" if scheme == "https" else ""
    age = SESSION_MS // 1000 if secret else 0
    return f"{cookie_name(scheme)}={secret or ''}; Path=/; Max-Age={age}; HttpOnly; SameSite=Lax{secure}"
