"""How routes reach what the composition root made."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyCookie, HTTPBearer

from store.actors import Actor
from store.services import Services


async def _services(request: Request) -> Services:
    services = request.app.state.services
    if not isinstance(services, Services):
        raise TypeError("the application was not made by gauntlet.app.create_app")
    return services


Store = Annotated[Services, Depends(_services)]


_TOKEN = HTTPBearer(
    scheme_name="token", description="A token of an account, made on the page of the account", auto_error=False
)
_COOKIE = APIKeyCookie(
    name="gauntlet_session",
    scheme_name="session",
    description="The cookie of a browser that is signed in; over https its name begins with __Host-",
    auto_error=False,
)


async def _who(
    request: Request,
    # Only declared, for the description of the API: they are read before any route.
    _token: Annotated[object, Security(_TOKEN)] = None,
    _cookie: Annotated[object, Security(_COOKIE)] = None,
) -> Actor:
    actor = request.state.actor
    if not isinstance(actor, Actor):
        raise TypeError("the application has no gauntlet.identity.Identity before its routes")
    return actor


Who = Annotated[Actor, Depends(_who)]
"""Who asks."""


async def _client(request: Request) -> str:
    return request.client.host if request.client else ""


Client = Annotated[str, Depends(_client)]
"""The network address that the request comes from; empty where there is none."""
