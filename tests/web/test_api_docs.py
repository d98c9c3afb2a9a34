"""The page of the REST interface: all of it from the package, and its foreign files those that were reviewed."""

from __future__ import annotations

import hashlib
import re

from tests.running import Running
from tests.web.html import read_page
from web.rendering import ROOM

SWAGGER = ROOM / "static" / "swagger-ui"


def test_it_shows_the_description_with_files_of_this_service(service: Running) -> None:
    response = service.http.get("/api/v1/docs")
    page = read_page(response.text)
    sources = [found["src"] for found in page.find("script")]
    assert [source.partition("?")[0] for source in sources] == [
        "/static/theme.js", "/static/swagger-ui/swagger-ui-bundle.js", "/static/api-docs.js",
    ]  # fmt: skip
    for address in (*sources, "/api/v1/openapi.json"):
        assert service.http.get(address).status_code == 200
    assert 'href="/api/v1/openapi.json"' in response.text


def test_foreign_files_are_those_that_were_reviewed() -> None:
    told = dict(re.findall(r"^\| (\S+) \| ([0-9a-f]{64}) \|$", (SWAGGER / "README.md").read_text(), re.MULTILINE))
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in SWAGGER.iterdir()
        if path.suffix in {".js", ".css"}
    }
    assert told == found
    assert "Apache License" in (SWAGGER / "LICENSE").read_text()
    assert b"sourceMappingURL" not in b"".join(path.read_bytes() for path in SWAGGER.iterdir())
