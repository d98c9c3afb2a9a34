"""How the pages join an application."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.staticfiles import StaticFiles

from web.pages import router
from web.rendering import ROOM

static_dir = ROOM / "static"


def install(app: FastAPI) -> None:
    """Add all pages and their static files; errors are shown by `web.error_page`."""
    app.include_router(router)
    app.mount("/static", StaticFiles(directory=static_dir), name="static")
