"""A board in a real browser, with the keyboard alone and without scripts."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser

from bench.screenshots import WIDTHS
from tests.browser.test_pages import browser, opened
from tests.running import Running
from tests.store.corrupted import publish_corrupted
from tests.store.evaluated import add_evaluated
from web.board_columns import Column

__all__ = ["browser"]

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS.keys())
def test_all_columns_fit_and_the_names_stay_in_view(browser: Browser, service: Running, width: int, dark: bool) -> None:
    names = ("first", "x" * 60, "last")
    verdicts = [number >= 60 for number in range(500)]
    add_evaluated(service.services.db, service.services.blobs, [(name, verdicts) for name in names])
    publish_corrupted(service.services.db, service.services.blobs, "Blurred")
    everything = "&".join(f"columns={column}" for column in Column)
    with opened(browser, service, width=width, dark=dark) as watched:
        page = watched.page
        for board in ("digits/L2", "digits/corruptions", "cifar10/Linf"):
            page.goto(f"/boards/{board}?withdrawn=yes&old_protocol=yes&{everything}")
            assert page.evaluate("document.documentElement.scrollWidth") <= width, board
            table = page.locator("#board-table")
            assert table.evaluate("box => { box.scrollLeft = 5000; return box.scrollLeft; }") > 0
            left = table.evaluate("box => box.getBoundingClientRect().left")
            for name in (page.locator("thead th.model"), page.locator("tbody th.model").first):
                box = name.bounding_box()
                assert box is not None
                assert 0 <= box["x"] - left < 60, board
        assert watched.complaints == []


def test_columns_are_chosen_with_the_keyboard_alone(browser: Browser, service: Running) -> None:
    with opened(browser, service, scripts=False) as watched:
        page = watched.page
        page.goto("/boards/cifar10/Linf?search=wang&sort=name")
        page.locator(".board-columns summary").focus()
        page.keyboard.press("Enter")
        for column in ("venue", "zoo_id", "parameters"):
            page.locator(f"#column-{column}").focus()
            page.keyboard.press("Space")
        page.locator(".board-columns button").focus()
        page.keyboard.press("Enter")
        page.wait_for_url("**columns=parameters**")
        assert "search=wang" in page.url
        assert "sort=name" in page.url
        names = [heading.inner_text() for heading in page.locator("table.leaderboard thead th").all()]
        assert "Parameters" in names
        assert not {"Venue", "Zoo id"} & set(names)
        assert page.locator(".board-columns").get_attribute("open") is not None


def test_the_plot_names_what_the_keyboard_gets_to(browser: Browser, service: Running) -> None:
    with opened(browser, service, scripts=False) as watched:
        page = watched.page
        page.goto("/boards/cifar10/Linf")
        named = page.locator(".plot a.point text:visible")
        assert named.count() == 0
        page.locator(".pages a, .leaderboard a").last.focus()
        seen = []
        for _ in range(25):
            page.keyboard.press("Tab")
            if not page.evaluate("document.activeElement.matches('.plot a')"):
                break
            (name,) = named.all_text_contents()
            seen.append(name)
        assert len(seen) == len(set(seen)) > 1
        assert all(": standard " in name for name in seen)
        page.locator(".plot a.point").first.hover(force=True)
        assert named.count() == 1
