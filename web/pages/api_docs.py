"""The REST interface, to be read and tried out."""

from __future__ import annotations

from typing import ClassVar

from fastapi import APIRouter, Request, Response

from web.rendering import Page, render

router = APIRouter()

DESCRIPTION = "/api/v1/openapi.json"


class ApiDocsPage(Page):
    """A place for Swagger UI, which comes from the package like all else."""

    template: ClassVar[str] = "api_docs.html"

    description: str
    """Address of the OpenAPI document."""


@router.get("/api/v1/docs")
async def show_api_docs(request: Request) -> Response:
    """Show the REST interface."""
    return render(request, ApiDocsPage(title="REST interface", description=DESCRIPTION))
