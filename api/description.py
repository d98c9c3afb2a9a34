"""What the description of the API says beyond its routes: how to use it, examples, and who needs an account."""

from __future__ import annotations

import re
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from api.error_examples import ERRORS
from api.examples import named

TEXT = """\
A standardized adversarial-robustness benchmark: leaderboards, submissions and their evidence.

**Accounts.** Reading needs none. Whoever sends something shows a token of an account, `Authorization: Bearer gnt_…`,
unless the service takes work from anybody. A token that has ended gets 401 at every address.

**Numbers.** Accuracies are fractions from 0 to 1, times are milliseconds since 1970 in UTC, and what is unknown is
`null`.

**Parts.** A long leaderboard comes in parts: `limit` and `offset` choose one, `matching` and the header
`X-Total-Count` tell how many rows there are, and the header `Link` has the addresses of the parts before and after.
Other lists come with the latest first and take `limit`; the audit log also takes `before`.

**Size and repetition.** Answers of more than a kilobyte are packed by gzip for those who send
`Accept-Encoding: gzip`. A leaderboard bears an `ETag`; who sends it in `If-None-Match` gets 304 and no body for as
long as nothing has changed.

**Errors.** Every error has one shape, whatever went wrong: a `code` for programs, a `message` for people and, where
the request is at fault, a `detail` with the field, what was found, what was expected and what to do. At every address
there may also be 405 for another method, 421 for a host name that is not the service's, and 403 for a change that a
browser asks for on behalf of another site. With 429, `Retry-After` tells how many seconds to wait.
"""


def name_operation(route: APIRoute) -> str:
    """Return an operation's id: the name of its function, whatever its address is one day."""
    return route.name


def complete(app: FastAPI) -> None:
    """Add to the description what follows from the routes and the examples, once it is asked for."""
    described = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = described()
            for operations in document["paths"].values():
                for operation in operations.values():
                    _tell_who_needs_no_account(operation)
                    operation["summary"] = summary_of(operation.get("description", ""))
                    _show_errors(operation)
            examples = named()
            for name, schema in document["components"]["schemas"].items():
                if name in examples:
                    schema.setdefault("examples", [examples[name]])
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to extend it


def summary_of(description: str) -> str:
    """Return the beginning of a description up to where it goes into detail."""
    return re.split(r"[.;:](?=\s|$)", " ".join(description.split()), maxsplit=1)[0]


def _show_errors(operation: dict[str, Any]) -> None:
    """Add an example to every error; said with the routes, it would lose what is null."""
    for status, answer in operation["responses"].items():
        if status >= "400":
            answer["content"]["application/json"]["example"] = ERRORS[int(status)].as_json()


def _tell_who_needs_no_account(operation: dict[str, Any]) -> None:
    """Say of an operation that never answers 401 for want of an account that it may be asked without one."""
    needs = operation.get("security")
    if needs and "401" not in operation["responses"] and {} not in needs:
        needs.append({})
