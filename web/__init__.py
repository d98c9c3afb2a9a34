"""The pages people see: rendered on the server, working without scripts."""

from __future__ import annotations

from web.pages import router
from web.pages.error import error_page
from web.site import install, static_dir

__all__ = ["error_page", "install", "router", "static_dir"]
