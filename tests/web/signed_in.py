"""Browsers and programs of people with accounts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from store.actors import Actor, Scope
from store.sign_in import begin_session, create_token
from tests.running import Running


@contextmanager
def browser(service: Running, who: Actor) -> Iterator[httpx.Client]:
    """A browser in which somebody is signed in."""
    secret = begin_session(service.services.db, who.account_id or "")
    with httpx.Client(base_url=service.url, timeout=10, cookies={"gauntlet_session": secret}) as client:
        yield client


@contextmanager
def program(service: Running, who: Actor, *scopes: Scope) -> Iterator[httpx.Client]:
    """A program that shows a token of somebody's."""
    _, token = create_token(service.services.db, who, "test", scopes or (Scope.READ, Scope.SUBMIT))
    with httpx.Client(base_url=service.url, timeout=10, headers={"Authorization": f"Bearer {token}"}) as client:
        yield client
