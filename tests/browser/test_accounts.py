"""An account in a real browser, without scripts: made, given a token, left, and entered again."""

from __future__ import annotations

import httpx
import pytest
from playwright.sync_api import Browser

from tests.browser.test_pages import browser, opened
from tests.running import Running
from tests.store.test_accounts import PASSWORD

__all__ = ["browser"]

pytestmark = pytest.mark.browser


def test_an_account_is_made_used_left_and_entered_again(browser: Browser, service: Running) -> None:
    with opened(browser, service, scripts=False) as watched:
        page = watched.page
        page.goto("/")
        page.get_by_role("link", name="Sign in").click()
        page.get_by_role("link", name="Make one").click()
        page.get_by_label("Name").fill("jane")
        page.get_by_label("Password required", exact=True).fill(PASSWORD)
        page.get_by_label("Password again").fill(PASSWORD)
        page.get_by_role("button", name="Make the account").click()
        page.get_by_role("heading", name="jane").wait_for()
        page.get_by_role("link", name="Tokens for programs").click()
        page.get_by_label("Name").fill("laptop")
        page.get_by_role("button", name="Make the token").click()
        token = page.locator("#secret").inner_text()
        bearer = {"Authorization": f"Bearer {token}"}
        assert httpx.get(f"{service.url}/api/v1/account", headers=bearer).json()["name"] == "jane"
        page.get_by_role("navigation", name="Main").get_by_role("link", name="jane").click()
        page.get_by_role("button", name="Sign out", exact=True).click()
        page.goto("/account/tokens")
        page.get_by_label("Name").fill("jane")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("heading", name="Tokens").wait_for()
        page.get_by_role("button", name="Revoke laptop").click()
        page.get_by_role("cell", name="revoked").wait_for()
        assert httpx.get(f"{service.url}/api/v1/account", headers=bearer).status_code == 401
        page.set_viewport_size({"width": 360, "height": 640})
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        assert watched.complaints == []
