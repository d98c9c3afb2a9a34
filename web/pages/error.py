"""Any error, as a page."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import ClassVar

from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from benchmark.errors import GauntletError
from web.rendering import Page, render


class Problem(BaseModel):
    """An error in terms its reader can act on; the last four are empty where the input is not to blame."""

    model_config = ConfigDict(frozen=True)

    message: str
    field: str = ""
    found: str = ""
    expected: str = ""
    remedy: str = ""

    @classmethod
    def of(cls, error: GauntletError) -> Problem:
        """Return the error as pages show it."""
        detail = error.detail.as_json() if error.detail else {}
        return cls(message=error.message, **detail)


def problems_of(errors: Mapping[str, GauntletError] | None) -> dict[str, Problem]:
    """Return errors by field as pages show them; None is none."""
    return {field: Problem.of(error) for field, error in (errors or {}).items()}


class ErrorPage(Page):
    """An error with its status."""

    template: ClassVar[str] = "error.html"

    status: int
    heading: str
    problem: Problem


_HEADINGS = {
    401: "Sign in first",
    403: "You may not do this",
    404: "There is nothing here",
    405: "This address takes no such request",
    409: "This is not possible now",
    413: "That is too large",
    429: "That was too often",
    500: "The service failed",
    507: "The service has no room left",
}


def error_page(request: Request, error: GauntletError, status: int) -> Response:
    """Show an error in the layout of all pages."""
    phrase = HTTPStatus(status).phrase
    heading = _HEADINGS.get(status, "The service failed" if status >= 500 else "This request cannot be used")
    problem = Problem.of(error)
    if problem.field == "address":
        problem = problem.model_copy(update={"remedy": "check the address, or start from the leaderboards"})
    return render(request, ErrorPage(title=phrase, status=status, heading=heading, problem=problem), status)
