"""Networks of the authors' own, by the form and in a real browser, to their row: evaluated by the service itself."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Browser, Page
from safetensors.torch import load_file
from torch import nn

import gauntlet
from benchmark import datasets
from benchmark.report import SandboxLevel
from gauntlet.client import Client
from gauntlet.settings import Settings
from model_zoo import load_model
from model_zoo.registry import bundled_checkpoint, card
from store.submissions import list_submissions
from store.views import BoardRow
from tests.benchmark.masked import Saturated
from tests.browser.test_pages import browser, opened
from tests.model_zoo.vision_transformer import trained
from tests.running import Running, running

__all__ = ["browser"]

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

PATIENCE_MS = 300_000
CARD = card("Digits_Standard", "digits", "Linf")


@pytest.fixture(scope="module")
def working(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service that evaluates, in the strongest sandbox."""
    settings = Settings(
        var_dir=tmp_path_factory.mktemp("working") / "var",
        worker_children=1,
        evaluate_zoo=False,
        port=0,
        sandbox_minimum=SandboxLevel.NAMESPACES,
    )
    with running(settings) as service:
        yield service


def send(page: Page, name: str, architecture: str, path: Path) -> None:
    page.goto("/submit")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Board").select_option("digits/Linf")
    page.get_by_label("Architecture").select_option(architecture)
    page.get_by_label("Checkpoint").set_input_files(path)
    page.get_by_role("button", name="Submit").click()


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no-scripts"])
def test_a_vision_transformer_goes_from_the_form_to_the_board(
    browser: Browser, working: Running, tmp_path: Path, scripts: bool
) -> None:
    model = trained(datasets.load("digits", "train"))
    points = datasets.load("digits", "test")
    right = int((model(points.x).argmax(1) == points.y).sum())
    path = tmp_path / "vit.pt2"
    gauntlet.export(model, torch.rand(1, 1, 8, 8), path)
    name = "Transformer" if scripts else "Transformer without scripts"
    with opened(browser, working, scripts=scripts) as watched:
        page = watched.page
        send(page, name, "exported", path)
        page.wait_for_url("**/submissions/*")
        page.get_by_role("link", name="See the result").click(timeout=PATIENCE_MS)
        provenance = page.locator("section[aria-labelledby=provenance]").inner_text()
        assert "it sees no files but the program's" in provenance
        page.goto("/boards/digits/Linf")
        row = page.locator(".leaderboard tr", has=page.get_by_role("link", name=name, exact=True))
        assert f"{right / 5:.1f}" in row.inner_text()
        assert watched.complaints == []


def test_a_state_dict_of_torch_save_goes_the_same_way(browser: Browser, working: Running, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"state_dict": load_file(bundled_checkpoint(CARD))}, path)
    with opened(browser, working) as watched:
        send(watched.page, "State dict", CARD.architecture, path)
        watched.page.get_by_role("link", name="See the result").wait_for(timeout=PATIENCE_MS)
        assert watched.complaints == []


def test_masked_gradients_are_flagged_and_a_closer_look_lowers_what_is_best_known(
    browser: Browser, working: Running, tmp_path: Path
) -> None:
    """The network inside is on the board too, so that a closer look carries over what is found on it."""
    inner = load_model(CARD.id, dataset="digits", threat_model="Linf").requires_grad_(False)
    path = tmp_path / "masked.pt2"
    gauntlet.export(Saturated(inner).eval(), torch.rand(1, 1, 8, 8), path)
    with opened(browser, working) as watched, Client(working.url) as client:
        page = watched.page
        send(page, "Inside", CARD.architecture, bundled_checkpoint(CARD))
        page.get_by_role("link", name="See the result").click(timeout=PATIENCE_MS)
        send(page, "Masked", "exported", path)
        page.get_by_role("link", name="See the result").click(timeout=PATIENCE_MS)
        assert "Square broke" in page.locator("section[aria-labelledby=checks]").inner_text()
        evaluated = client.model("digits", "Linf", "Masked").row
        assert evaluated.potentially_unreliable
        assert {"square_helps", "black_box_beats_white_box", "noise_helps"} <= set(evaluated.findings)
        looked = looked_closer(client, evaluated)
        assert evaluated.robust_accuracy is not None
        assert looked.robust_accuracy == evaluated.robust_accuracy
        assert looked.best_known_robust_accuracy is not None
        assert looked.best_known_robust_accuracy < evaluated.robust_accuracy - 0.1
        best_known = f"{100 * looked.best_known_robust_accuracy:.2f}"
        page.reload()
        history = page.locator("#history-table tr", has_text="follow-up-1").inner_text()
        assert best_known in history
        page.goto("/boards/digits/Linf")
        row = page.locator(".leaderboard tr", has=page.get_by_role("link", name="Masked", exact=True)).inner_text()
        assert f"{100 * evaluated.robust_accuracy:.2f}" in row
        assert best_known in row
        assert "potentially unreliable" in row
        assert watched.complaints == []


def looked_closer(client: Client, evaluated: BoardRow) -> BoardRow:
    """Wait until a closer look has lowered what is best known of an entry."""
    end = time.monotonic() + PATIENCE_MS / 1000
    while (row := client.model("digits", "Linf", evaluated.model_id).row) == evaluated:
        assert time.monotonic() < end, "nobody has looked closer"
        time.sleep(0.5)
    return row


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_is_refused_is_told_beside_the_file_with_the_way_out(
    browser: Browser, working: Running, tmp_path: Path
) -> None:
    scripted, pickled = io.BytesIO(), io.BytesIO()
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.rand(1, 2)), scripted)
    torch.save(nn.Linear(2, 2), pickled)
    files = {
        "scripted.pt": (scripted.getvalue(), "TorchScript"),
        "module.pt": (pickled.getvalue(), "torch.nn.modules.linear"),
        "model.onnx": (b"\x08\x09\x12\x07pytorch\x1a\x052.13.", "ONNX"),
    }
    before = len(list_submissions(working.services.db))
    with opened(browser, working) as watched:
        for name, (content, found) in files.items():
            (tmp_path / name).write_bytes(content)
            send(watched.page, "Refused", "exported", tmp_path / name)
            problem = watched.page.locator("#problem-checkpoint")
            problem.wait_for()
            said = problem.inner_text()
            assert found in said
            assert "gauntlet.export" in said
    assert len(list_submissions(working.services.db)) == before
