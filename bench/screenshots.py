"""Take pictures of every page, in both themes and both widths, of a service that has really evaluated what it shows.

    python -m bench.screenshots

Runs the whole service in a process of its own, waits until it has evaluated the models that come along, lives through a
day of its users, and writes docs/screenshots/. Needs Chromium at /usr/bin/chromium, and takes some minutes.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright
from safetensors.torch import load_file, save

from bench.service import started
from benchmark import datasets
from benchmark.threat_models import official_board
from gauntlet.app import make_services
from gauntlet.client import Client
from gauntlet.settings import Settings
from model_zoo import load_model
from model_zoo.registry import bundled_checkpoint, card
from store.account_links import choose_password_by_link
from store.actors import Role, Scope
from store.administration import invite
from store.analyses import find_studies
from store.queue import MOST_PRIORITY, set_priority
from store.services import Services
from store.sign_in import begin_session, create_token, who_has_session
from store.submissions import list_submissions
from store.views import ExtraData, NewExternal, NewSubmission, State

FOLDER = Path(__file__).parent.parent / "docs" / "screenshots"
CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
WIDTHS = {"desktop": 1280, "phone": 390}
THEMES = ("light", "dark")
TALLEST_PX = 1_800
"""What lies below is cut off."""
QUALITY = 50
PATIENCE_S = 1_800.0
PASSWORD = "a whale is no fish"  # noqa: S105 (of a service that lives for some minutes)
LINF = "digits/Linf"
SUBMITTED = card("Digits_PGD2", "digits", "Linf")
ATTACKED = card("Digits_FGSM", "digits", "Linf")
COMPARED = ("Digits_PGD10", "Digits_FGSM", "Digits_Standard")


@dataclass(frozen=True)
class Person:
    """Somebody with an account.

    Args:
        session: what their browser shows.
        client: what their programs show.
    """

    session: str
    client: Client


@dataclass(frozen=True)
class Picture:
    """A page that a picture is taken of.

    Args:
        name: of the picture.
        address: of the page.
        viewer: who looks; None for somebody without an account.
        part: selector of the part of the page that is pictured; empty for all of it.
    """

    name: str
    address: str
    viewer: Person | None = None
    part: str = ""


def main(arguments: list[str] | None = None) -> int:
    """Run the service, and take all pictures or the named ones."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="pictures to take; all by default")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where to write them")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as (url, services):
        pictures, jane = a_day(url, services)
        wanted = [one for one in pictures if one.name in options.names or not options.names]
        options.folder.mkdir(parents=True, exist_ok=True)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
            running = under_attack(jane)
            for picture in (running, *wanted):
                for theme in THEMES:
                    for device, width in WIDTHS.items():
                        target = options.folder / f"{picture.name}-{theme}-{device}.webp"
                        take(browser, url, picture, target, theme, width)
                        print(target.name, file=sys.stderr)
            browser.close()
        if not options.names:
            text = contents((running, *pictures))
            (options.folder / "README.md").write_text(text, encoding="utf-8")
    return 0


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, Services]]:
    """Serve until the end of the block; with the address comes what the service stores."""
    with started(folder / "var", {"GAUNTLET_APPROVAL": "on", "OMP_NUM_THREADS": "1"}) as url:
        services = make_services(Settings(var_dir=folder / "var"))
        with closing(services.db):
            yield url, services


def under_attack(who: Person) -> Picture:
    """Submit a model, and return its page once the attacks are at work; they take long enough for pictures of it."""
    content = bundled_checkpoint(SUBMITTED).read_bytes()
    submission = hand_in(who, "Under attack", content, SUBMITTED.architecture)
    wait_for(lambda: who.client.get_submission(submission).progress.attacks)
    return Picture("submission-running", f"/submissions/{submission}", who)


def a_day(url: str, services: Services) -> tuple[tuple[Picture, ...], Person]:
    """Let people do what they do, and return the pages that there are then, with somebody who submits."""
    admin, jane = (person(url, services, *who) for who in (("ada", Role.ADMIN), ("jane", Role.SUBMITTER)))
    wait_for(lambda: all(view.state is State.PUBLISHED for view in admin.client.list_submissions()))
    analyse_first(services, COMPARED)
    rejected = hand_in(jane, "Constant answers", save(blank(SUBMITTED.id)), SUBMITTED.architecture)
    resting = hand_in(jane, "Careful training", bundled_checkpoint(SUBMITTED).read_bytes(), SUBMITTED.architecture)
    wait_for(lambda: jane.client.get_submission(rejected).state is State.REJECTED)
    wait_for(lambda: jane.client.get_submission(resting).rests)
    verified = send_examples(jane)
    wait_for(lambda: jane.client.get_external(verified).concluded_ms is not None)
    entry = f"/models/{LINF}"
    flagged = [row.model_id for row in admin.client.leaderboard("digits", "Linf").rows if row.findings]
    doubtful = flagged[-1] if flagged else ATTACKED.id
    reported = "/models/cifar10/Linf/Wang2023Better_WRN-70-16"
    pictures = (
        Picture("home", "/"),
        Picture("board", f"/boards/{LINF}"),
        Picture("board-of-corruptions", "/boards/digits/corruptions"),
        Picture("board-reported", "/boards/cifar10/Linf"),
        Picture("progress", "/boards/cifar10/Linf/progress"),
        Picture("board-with-all-columns", f"/boards/{LINF}?columns=standard&columns=robust&columns=breakdown"),
        Picture("model", f"{entry}/{ATTACKED.id}"),
        Picture("analyses", f"{entry}/{COMPARED[0]}", part="section:has(> #analyses)"),
        Picture("model-in-doubt", f"{entry}/{doubtful}"),
        Picture("model-on-corruptions", "/models/digits/corruptions/Digits_PGD10"),
        Picture("model-reported", reported),
        Picture("claim", f"{reported}/claim", jane),
        Picture("compare", f"/compare/{LINF}?{'&'.join(f'model={name}' for name in COMPARED)}"),
        Picture("external", f"{entry}/{ATTACKED.id}/external"),
        Picture("external-evaluation", f"/external-evaluations/{verified}"),
        Picture("unverified", "/boards/cifar10/Linf/unverified", jane),
        Picture("submit", "/submit", jane),
        Picture("submission-rejected", f"/submissions/{rejected}", jane),
        Picture("submission-resting", f"/submissions/{resting}", jane),
        Picture("submissions", "/submissions", jane),
        Picture("account", "/account", jane),
        Picture("tokens", "/account/tokens", jane),
        Picture("messages", "/account/webhooks", jane),
        Picture("claims", "/claims", jane),
        Picture("sign-in", "/sign-in"),
        Picture("register", "/register"),
        Picture("moderation", "/moderation", admin),
        Picture("queue", "/queue", admin),
        Picture("audit", "/audit", admin),
        Picture("accounts", "/accounts", admin),
        Picture("rules", "/about"),
        Picture("documentation", "/docs"),
        Picture("protocols", "/docs/protocol"),
        Picture("formats", "/docs/formats"),
        Picture("programs", "/docs/api"),
        Picture("citing", "/docs/cite"),
        Picture("rest-interface", "/api/v1/docs"),
        Picture("error", "/nothing"),
    )
    return pictures, jane


def analyse_first(services: Services, names: Sequence[str]) -> None:
    """Let the analyses of some entries come before all other work, and wait for them."""
    board = official_board("digits", "Linf")
    for view in list_submissions(services.db):
        if view.submission.name in names and view.submission.threat_model == board.threat_model:
            set_priority(services.db, view.id, MOST_PRIORITY)
    found = partial(find_studies, services.db, services.blobs, board, names)
    wait_for(lambda: all(one is not None and not one.pending for one in found().values()))


def person(url: str, services: Services, name: str, role: Role) -> Person:
    """Make an account, and sign in with it."""
    _, link = invite(services.db, None, name, role)
    account = choose_password_by_link(services.db, link, PASSWORD)
    session = begin_session(services.db, account.id)
    who = who_has_session(services.db, session)
    if who is None:
        raise RuntimeError("a session that has just begun is none")
    _, token = create_token(services.db, who, "pictures", [Scope.READ, Scope.SUBMIT])
    return Person(session, Client(url, token=token))


def hand_in(who: Person, name: str, content: bytes, architecture: str) -> str:
    """Submit a checkpoint, and return the submission's id."""
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
        file.write(content)
        file.flush()
        sha256 = who.client.upload(Path(file.name)).sha256
    new = NewSubmission(
        name=name, dataset="digits", threat_model="Linf", architecture=architecture, checkpoint_sha256=sha256,
        title=f"{name} of small networks", authors="Jane Doe", extra_data=ExtraData.NONE, claimed_robust_accuracy=0.62,
    )  # fmt: skip
    return who.client.submit(new).id


def blank(model_id: str) -> dict[str, torch.Tensor]:
    """Return the weights of a network that says the same whatever it sees."""
    tensors = load_file(bundled_checkpoint(card(model_id, "digits", "Linf")))
    return {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}


def send_examples(who: Person) -> str:
    """Send examples of one step against a model that comes along, and return the evaluation's id."""
    broken, x_adv = one_step_against(ATTACKED.id)
    with tempfile.NamedTemporaryFile(suffix=".npy") as file:
        np.save(file, x_adv)
        file.flush()
        sha256 = who.client.upload(Path(file.name)).sha256
    new = NewExternal(
        examples_sha256=sha256,
        points=broken,
        title="One step suffices",
        authors="Jane Doe",
        attack="one step along the sign of the gradient",
    )
    return who.client.submit_external("digits", "Linf", ATTACKED.id, new).id


def one_step_against(model_id: str) -> tuple[tuple[int, ...], NDArray[np.float32]]:
    """Return which test images a model of digits/Linf misclassifies after one step within the budget, and as what."""
    model = load_model(model_id, dataset="digits", threat_model="Linf")
    points = datasets.load("digits", "test")
    x = points.x.clone().requires_grad_()
    (grad,) = torch.autograd.grad(torch.nn.functional.cross_entropy(model(x), points.y), x)
    x_adv = (points.x + 0.19 * grad.sign()).clamp(0, 1)
    broken = (model(x_adv).argmax(1) != points.y).nonzero().flatten()
    return tuple(broken.tolist()), x_adv[broken].numpy()


def take(browser: Browser, url: str, picture: Picture, target: Path, theme: str, width: int) -> None:
    """Take a picture of a page."""
    context = browser.new_context(
        base_url=url,
        viewport={"width": width, "height": 900},
        color_scheme="dark" if theme == "dark" else "light",
        reduced_motion="reduce",
    )
    if picture.viewer is not None:
        context.add_cookies([{"name": "gauntlet_session", "value": picture.viewer.session, "url": url}])
    page = context.new_page()
    page.goto(picture.address)
    if picture.name == "rest-interface":
        page.locator(".opblock").first.wait_for()
    Image.open(io.BytesIO(_shot(page, width, picture.part))).convert("RGB").save(target, quality=QUALITY, method=6)
    context.close()


_LOADED = """async () => {
  for (const image of document.images) image.loading = "eager";
  await Promise.all([...document.images].map((image) => image.decode()));
}"""
"""Images further down are loaded only once somebody gets there."""


def _shot(page: Page, width: int, part: str) -> bytes:
    page.evaluate(_LOADED)
    if part:
        return _cut(page.locator(part).screenshot())
    height = min(TALLEST_PX, page.evaluate("document.documentElement.scrollHeight"))
    return page.screenshot(full_page=True, clip={"x": 0, "y": 0, "width": width, "height": height})


def _cut(content: bytes) -> bytes:
    image = Image.open(io.BytesIO(content))
    file = io.BytesIO()
    image.crop((0, 0, image.width, min(TALLEST_PX, image.height))).save(file, format="png")
    return file.getvalue()


def contents(pictures: tuple[Picture, ...]) -> str:
    """Return the list of all pictures as Markdown."""
    lines = [
        "# What the pages look like",
        "",
        "Taken by `make screenshots` of a service that has evaluated the models that come along; what lies below",
        f"{TALLEST_PX} pixels is cut off.",
        "",
        "| Page | " + " | ".join(f"{theme}, {device}" for theme in THEMES for device in WIDTHS) + " |",
        "|---|" + "---|" * (len(THEMES) * len(WIDTHS)),
    ]
    for one in pictures:
        cells = [f"[picture]({one.name}-{theme}-{device}.webp)" for theme in THEMES for device in WIDTHS]
        lines.append(f"| {one.name.replace('-', ' ')} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until the condition holds."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError("the service did not get done in time")
        time.sleep(1)


if __name__ == "__main__":
    sys.exit(main())
