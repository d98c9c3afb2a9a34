"""Examples of others in a real browser: sent by the form, and their page until they are judged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser

from store.externals import get_external
from tests.browser.test_pages import browser, opened
from tests.running import Running
from tests.store.lowered import judge_examples
from tests.store.material import published

__all__ = ["browser"]

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no-scripts"])
def test_examples_are_sent_and_their_verdict_arrives(
    browser: Browser, service: Running, tmp_path: Path, scripts: bool
) -> None:
    published(service.services.db, service.services.blobs, "Method A")
    np.save(tmp_path / "x_adv.npy", np.zeros((2, 1, 8, 8), np.float32))
    with opened(browser, service, scripts=scripts) as watched:
        page = watched.page
        page.goto("/models/digits/Linf/Method%20A")
        page.get_by_role("link", name="Send examples for this entry").click()
        page.get_by_label("Examples").set_input_files(tmp_path / "x_adv.npy")
        page.get_by_label("Points").fill("100, 499")
        page.get_by_role("textbox", name="How they were found").fill("by hand")
        page.get_by_role("button", name="Send the examples").click()
        page.wait_for_url("**/external-evaluations/*")
        page.locator(".state-queued").wait_for()
        sent = get_external(service.services.db, page.url.rpartition("/")[2])
        judge_examples(service.services, sent, (100, 499))
        page.locator(".state-verified").wait_for()
        page.get_by_role("link", name="All evaluations of this entry").click()
        page.locator("#externals-table").get_by_role("link", name="by hand").wait_for()
        assert watched.complaints == []


def test_the_form_keeps_the_file_where_something_else_is_wrong(
    browser: Browser, service: Running, tmp_path: Path
) -> None:
    published(service.services.db, service.services.blobs, "Method A")
    np.save(tmp_path / "x_adv.npy", np.zeros((2, 1, 8, 8), np.float32))
    with opened(browser, service) as watched:
        page = watched.page
        page.goto("/models/digits/Linf/Method%20A/external")
        page.get_by_label("Examples").set_input_files(tmp_path / "x_adv.npy")
        page.get_by_label("Points").fill("499, 100")
        page.get_by_label("Title of the paper").fill("A title")
        page.get_by_role("button", name="Send the examples").click()
        page.locator("#problem-points").wait_for()
        assert page.get_by_label("Title of the paper").input_value() == "A title"
        assert page.evaluate("document.querySelector('#examples').files[0].name") == "x_adv.npy"
        page.get_by_label("Points").fill("100, 499")
        page.get_by_role("button", name="Send the examples").click()
        page.wait_for_url("**/external-evaluations/*")
        assert [text for text in watched.complaints if "status of 422" not in text] == []
