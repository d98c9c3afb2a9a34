"""How pages reach what the composition root made."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from store.actors import Actor
from store.services import Services


async def _services(request: Request) -> Services:
    services = request.app.state.services
    if not isinstance(services, Services):
        raise TypeError("the application has no store.services.Services in its state")
    return services


Store = Annotated[Services, Depends(_services)]


async def _who(request: Request) -> Actor:
    actor = request.state.actor
    if not isinstance(actor, Actor):
        raise TypeError("the application has no gauntlet.identity.Identity before its routes")
    return actor


async def _client(request: Request) -> str:
    return request.client.host if request.client else ""


Client = Annotated[str, Depends(_client)]
"""The network address that the request comes from; empty where there is none."""
Who = Annotated[Actor, Depends(_who)]
"""Who asks."""
