"""The plots of analyses in a real browser: they show, in the theme of the page, with scripts and without."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.test_pages import browser, opened
from tests.running import Running
from tests.store.analysed import publish_analysed
from tests.store.deciders import person

__all__ = ["browser"]

PAGE = "/models/digits/Linf/Method%20A"
SHOWN = """async () => {
  const shown = [...document.querySelectorAll(".drawing img")].filter((image) => image.offsetParent);
  for (const image of shown) image.loading = "eager";
  await Promise.all(shown.map((image) => image.decode()));
  return shown.map((image) => [image.className, image.naturalWidth > 0]);
}"""


def shown(page: Page) -> set[str]:
    """Which of the two drawings of each analysis are to be seen; all of them have loaded."""
    found = page.evaluate(SHOWN)
    assert len(found) == 11
    assert all(loaded for _, loaded in found)
    return {kind for kind, _ in found}


@pytest.mark.browser
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_plots_are_those_of_the_theme_and_follow_the_control(browser: Browser, service: Running, dark: bool) -> None:
    publish_analysed(service.services, person(service.services.db, "owner"), "Method A")
    of_system, other = ("for-dark", "for-light") if dark else ("for-light", "for-dark")
    with opened(browser, service, dark=dark) as watched:
        watched.page.goto(PAGE)
        assert shown(watched.page) == {of_system}
        watched.page.click(f"[data-choose={'light' if dark else 'dark'}]")
        assert shown(watched.page) == {other}
        watched.page.click("[data-choose=system]")
        assert shown(watched.page) == {of_system}
        watched.page.emulate_media(media="print")
        assert shown(watched.page) == {"for-light"}
        assert watched.complaints == []


@pytest.mark.browser
def test_without_scripts_plots_show_and_the_numbers_open(browser: Browser, service: Running) -> None:
    publish_analysed(service.services, person(service.services.db, "owner"), "Method A")
    with opened(browser, service, dark=True, scripts=False) as watched:
        watched.page.goto(PAGE)
        assert shown(watched.page) == {"for-dark"}
        numbers = watched.page.locator("#analysis-calibration-table-1")
        assert not numbers.is_visible()
        summary = watched.page.locator(".analysis summary").first
        summary.focus()
        summary.press("Enter")
        assert numbers.is_visible()
        assert watched.complaints == []
