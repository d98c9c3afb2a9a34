"""What surrounds every page in a real browser: the theme that is chosen, and the menu of a narrow window."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page

from bench.screenshots import WIDTHS
from tests.browser.test_pages import browser, opened
from tests.running import Running
from tests.web.material import attack

__all__ = ["browser"]

pytestmark = pytest.mark.browser

TARGET = 44
"""Pixels that a finger needs: WCAG 2.2, success criterion 2.5.5."""


def is_dark(page: Page) -> bool:
    ground = page.evaluate("getComputedStyle(document.documentElement).backgroundColor.match(/\\d+/g).map(Number)[0]")
    return bool(ground < 100)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_theme_that_is_chosen_stays_and_goes_again(browser: Browser, service: Running, dark: bool) -> None:
    with opened(browser, service, dark=dark) as watched:
        page = watched.page
        page.goto("/about")
        assert is_dark(page) is dark
        themes = page.get_by_role("group", name="Theme")
        assert themes.get_by_role("button", pressed=True).inner_text() == "System"
        other = themes.get_by_role("button", name="Light" if dark else "Dark")
        other.focus()
        page.keyboard.press("Enter")
        assert is_dark(page) is not dark
        assert themes.get_by_role("button", pressed=True).count() == 1
        tab = page.context.new_page()
        tab.goto("/submissions")
        assert is_dark(tab) is not dark
        tab.get_by_role("button", name="System").click()
        assert is_dark(tab) is dark
        page.wait_for_function("document.documentElement.dataset.theme === undefined")
        assert is_dark(page) is dark
        assert watched.complaints == []


def test_the_theme_is_there_before_anything_is_painted(browser: Browser, service: Running) -> None:
    """Before the body is read; a stored theme that is none of ours counts for nothing."""
    with opened(browser, service) as watched:
        page = watched.page
        page.add_init_script(
            "const note = () => { if (document.body) window.early ??= document.documentElement.dataset.theme; };"
            "new MutationObserver(note).observe(document, { childList: true, subtree: true });"
        )
        page.goto("/about")
        for stored, shown in (("dark", "dark"), ("light", "light"), ("</style>", None), ("system", None)):
            page.evaluate("(theme) => localStorage.setItem('theme', theme)", stored)
            page.reload()
            assert page.evaluate("window.early ?? null") == shown, stored
        assert watched.complaints == []


def test_without_scripts_the_system_decides_and_nothing_dead_is_shown(browser: Browser, service: Running) -> None:
    with opened(browser, service, dark=True, scripts=False) as watched:
        watched.page.goto("/about")
        assert watched.page.get_by_role("group", name="Theme").count() == 0


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no-scripts"])
def test_the_menu_of_a_phone_opens_by_keyboard_in_one_line(browser: Browser, service: Running, scripts: bool) -> None:
    with opened(browser, service, width=WIDTHS["phone"], scripts=scripts) as watched:
        page = watched.page
        page.goto("/")
        header, menu = page.locator("header.site").bounding_box(), page.get_by_role("button", name="Menu")
        assert header is not None
        assert header["height"] < 1.5 * TARGET
        entries = page.get_by_role("navigation", name="Main").get_by_role("link")
        assert entries.count() == 0
        menu.focus()
        page.keyboard.press("Enter")
        assert entries.count() >= 5
        boxes = [box for box in (entry.bounding_box() for entry in [menu, *entries.all()]) if box is not None]
        assert min(box["height"] for box in boxes) >= TARGET
        assert all(box["x"] >= 0 and box["x"] + box["width"] <= WIDTHS["phone"] for box in boxes)
        page.keyboard.press("Tab")
        assert entries.first.evaluate("link => link === document.activeElement")
        page.keyboard.press("Escape")
        assert entries.count() == 0
        assert menu.evaluate("button => button === document.activeElement")
        menu.click()
        entries.get_by_text("Submissions").click()
        page.wait_for_url("**/submissions")
        assert watched.complaints == []


def test_a_wide_window_needs_no_menu(browser: Browser, service: Running) -> None:
    with opened(browser, service) as watched:
        watched.page.goto("/")
        assert watched.page.get_by_role("button", name="Menu").count() == 0
        assert watched.page.get_by_role("navigation", name="Main").get_by_role("link").count() >= 5


def test_nothing_moves_for_those_who_want_no_motion(browser: Browser, service: Running) -> None:
    view, _ = attack(service.services, "Running")
    with opened(browser, service) as watched:
        page = watched.page
        page.goto(f"/submissions/{view.id}")
        assert page.evaluate("document.getAnimations().length") > 0
        page.emulate_media(reduced_motion="reduce")
        assert page.evaluate("document.getAnimations().length") == 0
        assert watched.complaints == []
