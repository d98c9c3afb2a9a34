"""From a page's typed context to a response."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from store.actors import ANYBODY, Actor
from store.rendered import Answer
from store.views import MOST_ROWS
from web import formats, glossary

ROOM = Path(__file__).parent
HTML = "text/html; charset=utf-8"


class Page(BaseModel):
    """Everything that a page shows; its template sees nothing else.

    Pages are values: equal contexts give equal bytes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    template: ClassVar[str]
    section: ClassVar[str] = ""
    """Which entry of the navigation the page belongs to."""

    title: str
    refresh_s: int | None = None
    """Seconds after which a browser without scripts loads the page anew; None where nothing on it can change."""


def render(request: Request, page: Page, status: int = 200) -> Response:
    """Render the page; a reader who has these bytes already gets 304 instead."""
    # An error may come before it is known who asks.
    viewer = getattr(request.state, "actor", ANYBODY)
    body = as_html(page, viewer).encode()
    etag = f'W/"{hashlib.sha256(body).hexdigest()[:32]}"'
    kept = "private, no-cache" if viewer.account_id else "no-cache"
    headers = {"Cache-Control": kept, "ETag": etag, "Vary": "Cookie"}
    if request.method in {"GET", "HEAD"} and status == 200 and request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    return Response(body, status_code=status, headers=headers, media_type=HTML)


def respond(request: Request, answer: Answer) -> Response:
    """Send a page that was rendered before, for readers who are not signed in."""
    headers = {"Cache-Control": "no-cache", "ETag": answer.etag, "Vary": "Cookie, Accept-Encoding"}
    if answer.is_known(request.headers.get("if-none-match")):
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(answer.packed, headers=headers | {"Content-Encoding": "gzip"}, media_type=HTML)
    return Response(answer.plain, headers=headers, media_type=HTML)


def as_html(page: Page, viewer: Actor = ANYBODY) -> str:
    """Fill in the page's template, for somebody in particular."""
    return _environment().get_template(page.template).render(page=page, viewer=viewer)


def board_address(dataset: str, threat_model: str, **query: str | None) -> str:
    """Return the address of a board's page, with the parts of the query that say something."""
    said = {name: value for name, value in query.items() if value}
    path = f"/boards/{quote(dataset, safe='')}/{quote(threat_model, safe='')}"
    return f"{path}?{urlencode(said)}" if said else path


def model_address(dataset: str, threat_model: str, model_id: str) -> str:
    """Return the address of an entry's page."""
    return f"/models/{quote(dataset, safe='')}/{quote(threat_model, safe='')}/{quote(model_id, safe='')}"


def compare_address(dataset: str, threat_model: str, model_ids: Sequence[str] = ()) -> str:
    """Return the address of the page that shows entries of a board side by side."""
    path = f"/compare/{quote(dataset, safe='')}/{quote(threat_model, safe='')}"
    return f"{path}?{urlencode([('model', model_id) for model_id in model_ids])}" if model_ids else path


def submission_address(submission_id: str) -> str:
    """Return the address of a submission's page."""
    return f"/submissions/{quote(submission_id, safe='')}"


def external_address(external_id: str) -> str:
    """Return the address of the page of an evaluation by others."""
    return f"/external-evaluations/{quote(external_id, safe='')}"


@cache
def static_address(name: str) -> str:
    """Return the address of a static file; it changes with the content, so that no browser shows an old one."""
    digest = hashlib.sha256((ROOM / "static" / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?v={digest}"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(ROOM / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printed,
        auto_reload=False,  # templates belong to the code that runs, not to the one that is being installed
    )
    for function in (
        formats.percent,
        formats.difference,
        formats.half_width,
        formats.span,
        formats.count,
        formats.known,
        formats.threat,
        formats.board_name,
        formats.budget,
        formats.duration,
        formats.size,
        formats.iso_time,
        formats.readable_time,
        formats.as_day,
        formats.measured,
        formats.state_name,
        formats.extra_data_name,
        formats.words,
        formats.anchor,
        formats.headline,
        formats.tally,
        formats.age,
    ):
        environment.filters[function.__name__] = function
    environment.globals.update(
        board_address=board_address,
        compare_address=compare_address,
        model_address=model_address,
        submission_address=submission_address,
        external_address=external_address,
        static_address=static_address,
        badges=glossary.BADGES,
        verdict_names=formats.VERDICT_NAMES,
        most_rows=MOST_ROWS,
    )
    return environment


def _printed(value: object) -> object:
    # Exactly str: what is marked as safe is a subclass, and comes from our own templates.
    return formats.without_hidden(value) if type(value) is str else value
