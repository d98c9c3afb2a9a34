"""Every page looked at by axe-core, in both themes and at two widths: nothing that keeps somebody out.

The pages are those of the table of who may call what, so a new page is looked at as soon as it has its line there.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import httpx
import pytest
from fastapi.routing import iter_route_contexts
from playwright.sync_api import Browser, Page

import web
from bench.screenshots import WIDTHS
from tests.api.access import TABLE, Line
from tests.api.callers import COOKIE, Caller, Person, a_person, hashed_quickly
from tests.api.objects import Objects
from tests.browser.test_pages import Watched, browser, opened, populate
from tests.house.layout import ROOT
from tests.running import Running, quiet_settings, running

__all__ = ["browser"]

VENDOR = Path(__file__).parent / "vendor"
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
LOOK = """async () => {
  const found = await axe.run(document, { resultTypes: ["violations"], rules: { "target-size": { enabled: true } } });
  return found.violations
    .map(({ id, impact, nodes }) => [id, impact, nodes.filter(({ html }) => !html.startsWith('<main id="operations"'))])
    .filter(([, , nodes]) => nodes.length)
    .map(([id, impact, nodes]) => [
      id, [impact, ...nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`)].join(" | "),
    ]);
}"""
"""WCAG 2.2 A and AA with the size of targets, and best practices such as landmarks and the order of headings.

One element is let off: the second main part that Swagger UI makes and api-docs.js turns into a region.
"""


@cache
def axe() -> str:
    return (VENDOR / "axe.min.js").read_text(encoding="utf-8")


def page_templates() -> set[str]:
    """The address of everything that the web room answers to GET."""
    found = iter_route_contexts(web.router.routes)
    return {context.path or "" for context in found if "GET" in (context.methods or ())}


LINES = [line for line in TABLE if line.method == "GET" and line.template in page_templates()]


def test_every_page_is_looked_at() -> None:
    assert {line.template for line in LINES} == page_templates()
    assert len(LINES) > 20


def test_the_foreign_file_is_the_one_that_was_reviewed_and_is_not_packaged() -> None:
    told = dict(re.findall(r"^\| (\S+) \| ([0-9a-f]{64}) \|$", (VENDOR / "README.md").read_text(), re.MULTILINE))
    assert told == {"axe.min.js": hashlib.sha256((VENDOR / "axe.min.js").read_bytes()).hexdigest()}
    assert "Mozilla Public License" in (VENDOR / "LICENSE").read_text()
    assert list((ROOT / "web").rglob("axe*")) == []


@pytest.fixture(scope="module")
def objects(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Objects]]:
    """A service with one of everything."""
    var_dir = tmp_path_factory.mktemp("accessibility") / "var"
    shutil.copytree(prepared, var_dir)
    with hashed_quickly(), running(quiet_settings(var_dir).model_copy(update={"webhooks": "on"})) as service:
        yield service, Objects(service.services)


@contextmanager
def signed_in(browser: Browser, service: Running, person: Person) -> Iterator[Watched]:
    with opened(browser, service) as watched:
        if person.headers:
            session = person.headers["Cookie"].removeprefix(f"{COOKIE}=")
            watched.page.context.add_cookies([{"name": COOKIE, "value": session, "url": service.url}])
        yield watched


@dataclass(frozen=True)
class Fault:
    """Something that keeps somebody out.

    Args:
        rule: the name of the rule.
        where: at which width, in which theme.
        details: how bad it is, and which elements break the rule and how.
    """

    rule: str
    where: str
    details: str


def faults(page: Page) -> list[Fault]:
    """What is wrong with the page that is open, in both themes and at both widths."""
    found = []
    if page.locator("#swagger-ui").count():
        page.locator(".opblock").first.wait_for()
    page.evaluate(axe())
    for name, width in WIDTHS.items():
        page.set_viewport_size({"width": width, "height": 800})
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if wide > 0:
            found.append(Fault("too-wide", name, f"by {wide} pixels"))
        for theme in THEMES:
            page.emulate_media(color_scheme=theme, reduced_motion="reduce")
            found += [Fault(rule, f"{name} {theme}", details) for rule, details in page.evaluate(LOOK)]
    return found


def kinds(line: Line) -> list[Caller]:
    """Who may see the page: somebody without an account, and an administrator, to whom everything is offered."""
    return [caller for caller in (Caller.NOBODY, Caller.ADMIN) if line.expected[caller] == 200]


@pytest.mark.browser
@pytest.mark.parametrize(("line", "caller"), [(line, caller) for line in LINES for caller in kinds(line)], ids=str)
def test_a_page_keeps_nobody_out(
    browser: Browser, objects: tuple[Running, Objects], line: Line, caller: Caller
) -> None:
    service, things = objects
    person = a_person(service.services.db, caller)
    request = line.make(things, person if person.account_id else things.somebody)
    address = str(httpx.URL(request.address(line.template), params=request.query or None))
    if not service.http.get(address, headers=person.headers).headers["Content-Type"].startswith("text/html"):
        return  # what is downloaded is no page
    with signed_in(browser, service, person) as watched:
        answer = watched.page.goto(address)
        assert answer is not None
        assert answer.status == 200
        found = [str(fault) for fault in faults(watched.page)]
        assert found == [], "\n".join(found)
        assert watched.complaints == []


@pytest.mark.browser
def test_what_keeps_somebody_out_would_be_found(browser: Browser, service: Running) -> None:
    with opened(browser, service) as watched:
        watched.page.goto("/about")
        watched.page.evaluate("""() => {
          document.querySelector("h2").outerHTML = "<h5>Too deep</h5><button></button>";
          document.querySelector("main").className = "pale wide";
          document.styleSheets[0].insertRule(".pale { color: #999; min-width: 1300px; }");
        }""")
        found = faults(watched.page)
        assert {"color-contrast", "heading-order", "button-name"} <= {fault.rule for fault in found}
        assert Fault("too-wide", "phone", "by 910 pixels") in found


@pytest.mark.browser
@pytest.mark.timeout(900)
def test_a_service_with_something_of_everything_keeps_nobody_out(browser: Browser, service: Running) -> None:
    with opened(browser, service) as watched:
        found = []
        for address in (*populate(service), "/nothing"):
            watched.page.goto(address)
            found += [f"{address} {fault}" for fault in faults(watched.page)]
        assert found == [], "\n".join(found)
        # The browser itself notes the status of the page that is not there.
        assert [text for text in watched.complaints if "status of 404" not in text] == []
