"""Every error of the service as one HTTP answer: its status, and its one shape."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from re import Pattern

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.schemas import ErrorResponse
from api.validation import HIDDEN, invalid_input, shown
from benchmark.errors import ErrorDetail, GauntletError, InvalidInput, NotFound
from store.errors import RateLimited

logger = logging.getLogger(__name__)

API_PATHS = ("/api/", "/internal/", "/healthz", "/readyz", "/metrics")
_STATUS = {
    "ambiguous_length": 400,
    "body_missing": 408,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "conflict": 409,
    "rate_limited": 429,
    "too_large": 413,
    "cross_site_request": 403,
    "misdirected_request": 421,
    "not_ready": 503,
    "queue_full": 503,
    "storage_full": 507,
    "storage_unavailable": 503,
    "database_unavailable": 503,
}
_HEADERS = {
    "unauthorized": {"WWW-Authenticate": "Bearer"},
    "ambiguous_length": {"Connection": "close"},  # or what follows would be taken for a request
}
_SECRET_PATHS = ("/api/v1/account",)
"""Whose bodies hold passwords, in whatever field somebody has put them: nothing of them is shown again."""


class MethodNotAllowed(InvalidInput):
    """The address exists, but not for this method."""

    code = "method_not_allowed"


class Unauthorized(InvalidInput):
    """The request does not show that it may do what it asks for."""

    code = "unauthorized"


class BodyMissing(InvalidInput):
    """Nothing more comes of a request's body."""

    code = "body_missing"


class DatabaseUnavailable(GauntletError):
    """The database does not answer, or cannot do now what it is asked to; trying again later may help."""

    code = "database_unavailable"


class InternalError(GauntletError):
    """Something failed that is not the caller's fault; what it was is in the service's log only."""

    code = "internal_error"


@dataclass(frozen=True)
class Failure:
    """An error with the status and headers it is answered with."""

    error: GauntletError
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)


PageRenderer = Callable[[Request, GauntletError, int], Response]


def install(app: FastAPI, page: PageRenderer | None = None) -> None:
    """Answer every error in the one shape.

    Args:
        app: the application.
        page: shows an error to those who asked for a page; without it they get JSON too.
    """

    async def answer(request: Request, error: Exception) -> Response:
        failure = explain(request, error)
        wants_json = page is None or request.url.path.startswith(API_PATHS)
        response = as_json(failure) if wants_json or page is None else page(request, failure.error, failure.status)
        response.headers.update(failure.headers)
        return response

    for kind in (GauntletError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, answer)


def explain(request: Request, error: Exception) -> Failure:
    """Translate any exception into one of our errors and its status."""
    match error:
        case GauntletError():
            return _failure(error)
        case RequestValidationError():
            problems = error.errors()
            if request.url.path.startswith(_SECRET_PATHS):
                problems = [{**problem, "input": HIDDEN} for problem in problems]
            malformed = problems[0]["type"] == "json_invalid"
            return Failure(
                invalid_input(problems, remedy="correct the field and send it again"), 400 if malformed else 422
            )
        case HTTPException():
            return _explain_http(request, error)
        case OperationalError():
            return Failure(DatabaseUnavailable("The service cannot use its database now. Try again later."), 503)
        case _:
            return Failure(InternalError("The service failed; the error is in its log. Try again later."), 500)


def _failure(error: GauntletError) -> Failure:
    headers = _HEADERS.get(error.code, {})
    if isinstance(error, RateLimited):
        headers = {"Retry-After": str(error.retry_after_s)}
    return Failure(error, status_of(error), headers)


def status_of(error: GauntletError) -> int:
    """Return the HTTP status of an error: what the input is not to blame for is the service's fault."""
    return _STATUS.get(error.code, 422 if isinstance(error, InvalidInput) else 500)


def as_json(failure: Failure) -> Response:
    """Return the error in the API's shape."""
    # In ASCII: what was found may hold characters that no encoding accepts.
    content = json.dumps(failure.error.as_json(), separators=(",", ":"))
    return Response(content, status_code=failure.status, media_type="application/json")


def responses(*statuses: int) -> dict[int | str, dict[str, object]]:
    """Declare the error answers of a route for the OpenAPI document, those included that any route may give."""
    return {
        status: {"model": ErrorResponse, "description": HTTPStatus(status).phrase}
        for status in sorted({*statuses, 408, 413, 422, 500, 503})
    }


def binary(what: str) -> dict[int | str, dict[str, object]]:
    """Declare that a route answers with bytes, of which there is no example."""
    schema = {"type": "string", "format": "binary"}
    return {200: {"description": what, "content": {"application/octet-stream": {"schema": schema}}}}


def _explain_http(request: Request, error: HTTPException) -> Failure:
    # FastAPI wraps whatever interrupts the reading of a body, our own size limit included.
    if isinstance(error.__cause__, GauntletError):
        return _failure(error.__cause__)
    headers = dict(error.headers or {})
    path = shown(request.url.path)
    if error.status_code == 404:
        found = NotFound.because(
            "address", found=path, expected="an address of this service", remedy="see /api/v1/openapi.json"
        )
        return Failure(found, 404, headers)
    if error.status_code == 405:
        allowed = headers["Allow"] = ", ".join(_methods_at(request)) or headers.get("Allow", "another method")
        detail = ErrorDetail("method", request.method, allowed, f"use {allowed} for this address")
        return Failure(MethodNotAllowed(f"{request.method} is not possible at {path}.", detail), 405, headers)
    if error.status_code < 500:
        detail = ErrorDetail("request", str(error.detail), "a well-formed request", "correct it and send it again")
        return Failure(InvalidInput(f"The request cannot be read: {error.detail}.", detail), error.status_code, headers)
    return Failure(InternalError("The service failed; try again later."), error.status_code, headers)


def _methods_at(request: Request) -> list[str]:
    """Return the methods of all routes of an address: the framework names those of the first alone."""
    routes = iter_route_contexts(request.app.routes)
    matching = [
        route for route in routes if isinstance(route.path_regex, Pattern) and route.path_regex.match(request.url.path)
    ]
    return sorted({method for route in matching for method in route.methods or ()})


class ErrorBoundary:
    """Turn what no handler expected into an answer without internals, and log it.

    It stands inside the other guards, so that even this answer bears their headers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def watched_send(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, watched_send)
        except ClientDisconnect:
            logger.info("client went away: %s %s", scope["method"], shown(scope["path"]))
        except Exception as error:
            if not isinstance(error, GauntletError):
                logger.exception("unexpected error: %s %s", scope["method"], shown(scope["path"]))
            if started:
                raise
            try:
                response = await scope["app"].exception_handlers[Exception](Request(scope), error)
            except Exception:
                logger.exception("the error page failed")
                response = as_json(explain(Request(scope), error))
            await response(scope, receive, send)
