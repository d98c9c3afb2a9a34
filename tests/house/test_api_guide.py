"""The guide to the REST interface asks for what there is, with parameters that there are."""

from __future__ import annotations

import json
import re
import shlex
from urllib.parse import parse_qsl, urlsplit

from api.exports.formats import Format
from api.exports.table import COLUMNS
from store.board_filters import BoardFilters
from store.views import Sort
from tests.house.layout import ROOT
from tests.running import Running, prepared, service
from tests.store.material import published

__all__ = ["prepared", "service"]

GUIDE = (ROOT / "docs/api.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^curl .*$", GUIDE, flags=re.MULTILINE)


def addresses() -> list[str]:
    return [part for command in COMMANDS for part in shlex.split(command) if part.startswith("http://")]


def test_every_example_fits_the_openapi_document_and_is_answered(service: Running) -> None:
    paths = service.http.get("/api/v1/openapi.json").json()["paths"]
    assert len(addresses()) == len(COMMANDS) > 10
    asked = set()
    for address in addresses():
        parts = urlsplit(address)
        fitting = [
            path
            for path in paths
            if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), parts.path) and "get" in paths[path]
        ]
        assert len(fitting) == 1, address
        asked.add(fitting[0])
        known = {one["name"] for one in paths[fitting[0]]["get"].get("parameters", []) if one["in"] == "query"}
        assert {name for name, _ in parse_qsl(parts.query)} <= known
        answer = service.http.get(f"{parts.path}?{parts.query}")
        # Nothing is evaluated in this service: what comes along is not there yet.
        assert answer.status_code == (404 if "Digits_" in address else 200), address
    rooms = ("/api/v1/leaderboards", "/api/v1/models", "/api/v1/dump")
    reading = {path for path, operations in paths.items() if path.startswith(rooms) and "get" in operations}
    elsewhere = {path for path in reading if "looks" in path or "external" in path}
    assert asked == reading - elsewhere


def test_the_guide_names_every_filter_column_and_order() -> None:
    named = set(re.findall(r"`(\w+)`", GUIDE))
    assert set(BoardFilters.model_fields) <= named
    assert set(Sort) <= named
    assert set(Format) <= named
    columns = GUIDE.partition("with these columns:\n")[2].partition("\n\nWhat is")[0]
    assert tuple(re.findall(r"`(\w+)`", columns)) == COLUMNS


def test_the_guide_names_every_kind_of_line_of_the_dump(service: Running) -> None:
    published(service.services.db, service.services.blobs)
    kinds = {json.loads(line)["kind"] for line in service.http.get("/api/v1/dump").text.splitlines()}
    table = GUIDE.partition("| `kind` |")[2]
    assert set(re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE)) == kinds
