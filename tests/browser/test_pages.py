"""Every page in a real browser: no error in the console, nothing that the content security policy had to stop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from bench.screenshots import ARGUMENTS, CHROMIUM, WIDTHS
from model_zoo.registry import bundled_checkpoint, card
from store.outcomes import finish_check
from store.submissions import list_submissions
from tests.running import MAX_CHECKPOINT_BYTES, Running
from tests.store.corrupted import publish_corrupted
from tests.store.lowered import doubt, judge_examples, look_closer, send_examples
from tests.store.material import check, finish, must_claim, shard_report
from tests.web.material import HOSTILE, attack, publish, reject, take_in

pytestmark = pytest.mark.browser

CARD = card("Digits_Standard", "digits", "Linf")
WATCH_POLICY = """
document.addEventListener("securitypolicyviolation", (stopped) =>
  console.error(`policy stopped ${stopped.violatedDirective} ${stopped.blockedURI}`));
addEventListener("unhandledrejection", (event) => console.error(`rejected ${event.reason}`));
"""


@dataclass
class Watched:
    """A page whose complaints are collected."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    def hear(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(f"{message.text} ({self.page.url})")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The browser; where there is none, that is a failure."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield browser
        browser.close()


@contextmanager
def opened(
    browser: Browser, service: Running, *, width: int = 1280, dark: bool = False, scripts: bool = True
) -> Iterator[Watched]:
    context = browser.new_context(
        base_url=service.url,
        viewport={"width": width, "height": 800},
        color_scheme="dark" if dark else "light",
        java_script_enabled=scripts,
    )
    context.set_default_timeout(15_000)
    page = context.new_page()
    watched = Watched(page)
    if scripts:
        page.add_init_script(WATCH_POLICY)
    page.on("console", watched.hear)
    page.on("pageerror", lambda error: watched.complaints.append(str(error)))
    try:
        yield watched
    finally:
        context.close()


def populate(service: Running) -> list[str]:
    """Fill the store, and return every address that there is to see."""
    for name in ("A", "B", "C"):
        publish(service.services, name, title=HOSTILE, paper_url="https://example.org/paper")
    doubt(service.services, "Doubtful")
    look_closer(service.services, broken=5)
    verified = send_examples(service.services, "Doubtful", points=(100, 499), title=HOSTILE, authors=HOSTILE)
    judge_examples(service.services, verified, (100, 499))
    refused = send_examples(service.services, "Doubtful", claimed_robust_accuracy=0.5, attack=HOSTILE)
    judge_examples(service.services, refused, (100,))
    rejected = reject(service.services, "Masked")
    publish_corrupted(service.services.db, service.services.blobs, "Standard", losses=(75, 74), baseline=True)
    publish_corrupted(service.services.db, service.services.blobs, "Blurred", losses=(5, 30), title=HOSTILE)
    running, _ = attack(service.services, "Running")
    waiting = take_in(service.services, "Waiting")
    return [
        "/",
        "/boards/digits/Linf",
        "/boards/digits/L2",
        "/boards/cifar10/Linf",
        "/boards/cifar10/Linf?search=wang&sort=standard",
        "/boards/cifar10/Linf/progress",
        "/boards/digits/Linf/progress",
        "/boards/imagenet/corruptions",
        "/boards/digits/corruptions",
        "/models/digits/corruptions/Blurred",
        "/models/digits/Linf/A",
        "/models/digits/Linf/Doubtful",
        "/models/digits/Linf/Doubtful#finding-noise_helps",
        "/models/digits/Linf/Doubtful/external",
        *(f"/external-evaluations/{view.id}" for view in (verified, refused)),
        "/models/cifar10/Linf/Amini2024MeanSparse_S-WRN-94-16",
        "/models/cifar10/Linf/Amini2024MeanSparse_S-WRN-94-16/external",
        "/models/imagenet/corruptions/AlexNet",
        "/submit",
        "/submissions",
        *(f"/submissions/{view.id}" for view in (rejected, running, waiting)),
        "/about",
        "/about#flagged",
        "/api/v1/docs",
    ]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS.keys())
def test_every_page_opens_without_complaint_and_fits(
    browser: Browser, service: Running, width: int, dark: bool
) -> None:
    addresses = populate(service)
    with opened(browser, service, width=width, dark=dark) as watched:
        for address in addresses:
            watched.page.goto(address)
            assert watched.page.evaluate("document.documentElement.scrollWidth") <= width, address
            lightness = watched.page.evaluate(
                "getComputedStyle(document.documentElement).backgroundColor.match(/\\d+/g).map(Number)[0]"
            )
            assert (lightness < 100) == dark, address
        assert watched.complaints == []


def test_the_rest_interface_is_listed(browser: Browser, service: Running) -> None:
    with opened(browser, service) as watched:
        watched.page.goto("/api/v1/docs")
        watched.page.locator(".opblock").first.wait_for()
        assert watched.page.locator(".opblock").count() >= 10
        for operation, example in (("read_leaderboard", "Doe2026Careful"), ("post_submission", "checkpoint_sha256")):
            block = watched.page.locator(f".opblock[id$='-{operation}']")
            block.locator(".opblock-summary-control").click()
            block.get_by_text(example).first.wait_for()
        board = watched.page.locator(".opblock[id$='-read_leaderboard']")
        board.get_by_role("button", name="Try it out").click()
        for name, value in (("dataset", "digits"), ("threat_model", "Linf")):
            board.locator(f"tr[data-param-name='{name}'] input").fill(value)
        board.get_by_role("button", name="Execute").click()
        board.locator(".live-responses-table").get_by_text("evaluated_here").first.wait_for()
        assert watched.complaints == []


def test_an_error_is_a_page_too(browser: Browser, service: Running) -> None:
    with opened(browser, service) as watched:
        answer = watched.page.goto("/nothing")
        assert answer is not None
        assert answer.status == 404
        assert watched.page.locator("h1").inner_text() == "There is nothing here"
        # The browser itself notes the status; nothing else may be there.
        assert [text for text in watched.complaints if "status of 404" not in text] == []


def test_the_policy_would_be_heard(browser: Browser, service: Running) -> None:
    with opened(browser, service) as watched:
        watched.page.goto("/about")
        watched.page.evaluate("document.body.setAttribute('style', 'color: red')")
        watched.page.wait_for_timeout(200)
        assert any("policy stopped style-src" in text for text in watched.complaints)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_stands_out_from_its_ground(browser: Browser, service: Running, dark: bool) -> None:
    """WCAG 2.2, success criterion 1.4.3: at least 4.5 : 1."""
    with opened(browser, service, dark=dark) as watched:
        watched.page.goto("/")
        ratios = watched.page.evaluate(
            """() => {
              const light = (name) => {
                const shown = document.body.appendChild(document.createElement("p"));
                shown.className = `shows-${name.slice(2)}`;
                document.styleSheets[0].insertRule(`.${shown.className} { color: var(${name}); }`);
                const probe = document.createElement("canvas").getContext("2d");
                probe.fillStyle = getComputedStyle(shown).color;
                probe.fillRect(0, 0, 1, 1);
                const parts = [...probe.getImageData(0, 0, 1, 1).data].slice(0, 3).map((part) => part / 255);
                const [r, g, b] = parts.map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
              };
              const ratio = (a, b) => {
                const [high, low] = [light(a), light(b)].sort((x, y) => y - x);
                return (high + 0.05) / (low + 0.05);
              };
              const pairs = [["--accent-ink", "--accent"], ["--gold", "--gold-wash"], ["--red", "--red-wash"]];
              for (const text of ["--ink", "--soft", "--accent", "--gold", "--red", "--green"]) {
                for (const ground of ["--paper", "--raised", "--sunken"]) pairs.push([text, ground]);
              }
              return Object.fromEntries(pairs.map(([a, b]) => [`${a} on ${b}`, ratio(a, b)]));
            }"""
        )
        assert {pair: round(ratio, 2) for pair, ratio in ratios.items() if ratio < 4.5} == {}


def test_the_form_works_with_scripts_and_keeps_the_file_where_something_else_is_wrong(
    browser: Browser, service: Running, tmp_path: Path
) -> None:
    checkpoint = tmp_path / "m.safetensors"
    checkpoint.write_bytes(bundled_checkpoint(CARD).read_bytes())
    with opened(browser, service) as watched:
        page = watched.page
        page.goto("/submit?board=digits/Linf")
        page.get_by_label("Architecture").select_option(CARD.architecture)
        page.get_by_label("Checkpoint").set_input_files(checkpoint)
        page.get_by_label("Address of the paper").fill("http://example.org")
        page.get_by_label("Name").fill("From a browser")
        page.get_by_role("button", name="Submit").click()
        page.locator("#problem-paper_url").wait_for()
        assert page.get_by_label("Name").input_value() == "From a browser"
        assert page.evaluate("document.querySelector('#checkpoint').files[0].name") == "m.safetensors"
        assert service.files() == []
        page.get_by_label("Address of the paper").fill("https://example.org")
        page.get_by_role("button", name="Submit").click()
        page.wait_for_url("**/submissions/*")
        assert page.locator("h1").inner_text() == "From a browser"
        assert [text for text in watched.complaints if "status of 422" not in text] == []
    assert service.files() == [CARD.sha256]


def test_the_form_says_at_once_that_a_file_is_too_large(browser: Browser, service: Running, tmp_path: Path) -> None:
    large = tmp_path / "large.safetensors"
    large.write_bytes(bytes(MAX_CHECKPOINT_BYTES + 1))
    with opened(browser, service) as watched:
        watched.page.goto("/submit")
        watched.page.get_by_label("Checkpoint").set_input_files(large)
        said = watched.page.evaluate("document.querySelector('#checkpoint').validationMessage")
        assert str(MAX_CHECKPOINT_BYTES) in said
        assert watched.complaints == []


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no-scripts"])
def test_the_form_and_cancelling_work_either_way(
    browser: Browser, service: Running, tmp_path: Path, scripts: bool
) -> None:
    checkpoint = tmp_path / "m.safetensors"
    checkpoint.write_bytes(bundled_checkpoint(CARD).read_bytes())
    with opened(browser, service, scripts=scripts) as watched:
        page = watched.page
        page.goto("/boards/digits/Linf")
        page.get_by_role("link", name="Submit to this board").click()
        page.get_by_label("Name").fill("Mine")
        page.get_by_label("Architecture").select_option(CARD.architecture)
        page.get_by_label("Checkpoint").set_input_files(checkpoint)
        page.get_by_role("button", name="Submit").click()
        page.wait_for_url("**/submissions/*")
        page.get_by_role("button", name="Cancel this submission").click()
        page.get_by_text("The submission was cancelled.").wait_for()
        assert watched.complaints == []
    assert [view.state.value for view in list_submissions(service.services.db)] == ["cancelled"]


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no-scripts"])
def test_a_viewer_sees_the_row_arrive(browser: Browser, service: Running, scripts: bool) -> None:
    view = take_in(service.services, "Arriving")
    with opened(browser, service, scripts=scripts) as board, opened(browser, service, scripts=scripts) as live:
        board.page.goto("/boards/digits/Linf")
        live.page.goto(f"/submissions/{view.id}")
        assert live.page.locator(".step-current .step-name").inner_text() == "Received"
        db = service.services.db
        finish_check(db, must_claim(db), [check()], shard_points=500)
        work = must_claim(db)
        live.page.locator(".step-current.state-running").wait_for()
        board.page.locator(".under-way .state-running").wait_for()
        finish(db, service.services.blobs, work, shard_report(work).to_bytes())
        live.page.get_by_role("link", name="See the result").wait_for()
        board.page.locator(".leaderboard").get_by_role("link", name="Arriving").wait_for()
        assert board.page.locator(".under-way").count() == 0
        assert board.complaints + live.complaints == []


def test_the_model_stays_in_view_on_a_phone(browser: Browser, service: Running) -> None:
    with opened(browser, service, width=WIDTHS["phone"]) as watched:
        page = watched.page
        page.goto("/boards/cifar10/Linf")
        table = page.locator("#board-table")
        name = page.locator("tbody th.model").first
        before = name.bounding_box()
        table.evaluate("box => { box.scrollLeft = 400; }")
        after = name.bounding_box()
        assert before is not None
        assert after is not None
        assert abs(after["x"] - before["x"]) < 30
        assert page.locator("tbody td.best").first.bounding_box() is not None
        assert watched.complaints == []


def test_the_keyboard_alone_gets_around(browser: Browser, service: Running) -> None:
    with opened(browser, service) as watched:
        page = watched.page
        page.goto("/boards/cifar10/Linf")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        assert page.locator(".skip").bounding_box() is not None
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
        page.keyboard.press("Tab")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
        assert outline == "3px"
