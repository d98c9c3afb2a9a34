"""How pages reach what the composition root made."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from store.services import Services


def _services(request: Request) -> Services:
    services = request.app.state.services
    if not isinstance(services, Services):
        raise TypeError("the application has no store.services.Services in its state")
    return services


Store = Annotated[Services, Depends(_services)]
