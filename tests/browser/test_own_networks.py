"""Networks of the authors' own, by the form and in a real browser, to their row: evaluated by the service itself."""

from __future__ import annotations

import io
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
from gauntlet.settings import Settings
from model_zoo.registry import bundled_checkpoint, card
from store.submissions import list_submissions
from tests.browser.test_pages import browser, opened
from tests.model_zoo.vision_transformer import trained
from tests.running import Running, running

__all__ = ["browser"]

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]

PATIENCE_MS = 180_000
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
