"""One story in a real browser, with a service that evaluates: from the form to the board, and off it again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page

from bench.screenshots import WIDTHS, one_step_against
from gauntlet.settings import Settings
from model_zoo.registry import bundled_checkpoint, card
from store.account_links import choose_password_by_link
from store.actors import Role
from store.administration import invite
from store.submissions import ensure_submission
from tests.browser.test_own_networks import CARD, PATIENCE_MS, send
from tests.browser.test_pages import browser, opened
from tests.running import Running, running
from tests.store.material import new_submission
from tests.store.test_accounts import PASSWORD
from tests.worker.work import wait_for

__all__ = ["browser"]

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

OTHER = card("Digits_FGSM", "digits", "Linf")
MAINTAINER = "maintainer"


@pytest.fixture(scope="module")
def moderated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service that evaluates, asks a maintainer before it publishes, and has an entry already."""
    settings = Settings(
        var_dir=tmp_path_factory.mktemp("moderated") / "var", accounts="needed", approval="on", evaluate_zoo=False,
        worker_children=1, port=0,
    )  # fmt: skip
    with running(settings) as service:
        db, blobs = service.services.db, service.services.blobs
        _, link = invite(db, None, MAINTAINER, Role.MAINTAINER)
        choose_password_by_link(db, link, PASSWORD)
        with bundled_checkpoint(OTHER).open("rb") as file:
            sha256 = blobs.put(file.read())
        new = new_submission(blobs, name=OTHER.id, architecture=OTHER.architecture, checkpoint_sha256=sha256)
        ensure_submission(db, blobs, new, service.services.admission, baseline=False, zoo_id=OTHER.id)
        yield service


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no-scripts"])
@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS.keys())
def test_from_the_form_to_the_board_and_off_it_again(
    browser: Browser, moderated: Running, tmp_path: Path, width: int, scripts: bool
) -> None:
    name = f"Journey {width}{' with scripts' if scripts else ''}"
    x_adv = tmp_path / "x_adv.npy"
    broken, examples = one_step_against(CARD.id)
    broken = broken[:5]
    np.save(x_adv, examples[:5])
    with (
        opened(browser, moderated, width=width, scripts=scripts) as author,
        opened(browser, moderated, width=width, scripts=scripts) as maintainer,
    ):
        page, desk = author.page, maintainer.page
        register(page, f"author-{width}-{'scripts' if scripts else 'none'}")
        sign_in(desk)

        send(page, name, CARD.architecture, bundled_checkpoint(CARD))
        page.wait_for_url("**/submissions/*")
        page.locator(".verdict", has_text="Its result waits for a maintainer").wait_for(timeout=PATIENCE_MS)
        submission = page.url

        desk.goto("/moderation")
        desk.locator("#pending-table tr", has=desk.get_by_role("link", name=name)).get_by_role(
            "button", name="Approve"
        ).click()
        desk.get_by_role("heading", name="Moderation").wait_for()
        assert desk.locator("#pending-table").get_by_role("link", name=name, exact=True).count() == 0

        page.goto("/boards/digits/Linf")
        page.locator(".leaderboard").get_by_role("link", name=name, exact=True).click()
        assert page.locator(".verdict").inner_text().endswith("misleading gradients.")
        assert page.locator("section[aria-labelledby=attacks] .chart tbody tr").count() == 5
        entry = page.url

        wait_for(lambda: moderated.http.get(f"/api/v1/models/digits/Linf/{OTHER.id}").status_code == 200, 300)
        page.goto("/compare/digits/Linf")
        page.locator("#model-1").fill(name)
        page.locator("#model-2").fill(OTHER.id)
        page.get_by_role("button", name="Compare").click()
        page.get_by_text("are kept by all").wait_for()
        assert page.locator("#pairs-table tbody tr").count() == 1

        page.goto(f"{entry}/external")
        page.get_by_label("Examples").set_input_files(x_adv)
        page.get_by_label("Points").fill(", ".join(map(str, broken)))
        page.get_by_role("textbox", name="How they were found").fill("one step along the sign")
        page.get_by_role("button", name="Send the examples").click()
        page.locator(".state-verified").wait_for(timeout=PATIENCE_MS)
        page.get_by_role("link", name="All evaluations of this entry").click()
        page.locator("#externals-table").get_by_role("link", name="one step along the sign").wait_for()

        desk.goto(submission)
        desk.get_by_label("Why it is withdrawn").fill("The story ends here.")
        desk.get_by_role("button", name="Withdraw the entry").click()
        page.goto(entry)
        assert "The story ends here." in page.locator("#withdrawn").inner_text()
        page.goto("/boards/digits/Linf")
        assert page.locator(".leaderboard").get_by_role("link", name=name, exact=True).count() == 0

        for seen in (page, desk):
            assert seen.evaluate("document.documentElement.scrollWidth") <= width
        assert author.complaints + maintainer.complaints == []


def register(page: Page, name: str) -> None:
    page.goto("/register")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password required", exact=True).fill(PASSWORD)
    page.get_by_label("Password again").fill(PASSWORD)
    page.get_by_role("button", name="Make the account").click()
    page.get_by_role("heading", name=name).wait_for()


def sign_in(page: Page) -> None:
    page.goto("/sign-in")
    page.get_by_label("Name").fill(MAINTAINER)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("link", name="Moderation", exact=True, include_hidden=True).first.wait_for(state="attached")
