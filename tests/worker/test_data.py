"""The real child, with the images of a data set in a folder outside its sandbox."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmark.data_formats.classes import class_names, listed_images
from benchmark.dataset_inventory import paths
from benchmark.report import SandboxLevel
from gauntlet import export
from tests.benchmark.data_files import write_image
from tests.worker.work import OPEN, real_sandbox
from worker import messages, process
from worker.messages import Checked, Failed, Message, Request
from worker.sandbox import Sandbox

INDICES = (0, 7, 8, 11, 20, 21, 30, 44)
"""Positions in ImageNet's list; no other image is there."""


class MeanColour(nn.Module):
    """Logits of the mean colour: nothing in it is large but the images."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(3, len(class_names("imagenet")))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.last(x.mean((2, 3)))
        return logits


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.pt2"
    torch.manual_seed(0)
    export(MeanColour(), torch.rand(1, 3, 224, 224), path)
    return path


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A folder in which ImageNet is a link to the user's own."""
    rng = np.random.default_rng(0)
    for index in INDICES:
        pixels = np.full((256, 256, 3), rng.integers(0, 256, 3), dtype=np.uint8)
        write_image(tmp_path / "own/val" / listed_images()[index], pixels)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/imagenet").symlink_to(tmp_path / "own")
    return tmp_path / "data"


def answer(sandbox: Sandbox, model: Path, scratch: Path, data_dir: Path | None) -> Message:
    """Ask for the check of a model on some points, as a service whose board it is would."""
    scratch.mkdir()
    (scratch / messages.MODEL_FILE).write_bytes(model.read_bytes())
    request = Request(
        kind="check", confinement=sandbox.confinement("cpu", 300), architecture="exported", dataset="imagenet",
        data_dir=None if data_dir is None else str(data_dir), norm="Linf", epsilon="4/255", protocol="standard", seed=0,
        indices=INDICES, unannounced=None, unannounced_points=0, sources=(), examples=(), checkpoint_sha256="0" * 64,
        claimed_standard_accuracy=None, limit_s=1e9, resume=False, slot_width=8, threads=1, save_every_s=60,
    )  # fmt: skip
    with process.started(process.COMMAND, sandbox, scratch, 1, "cpu") as child:
        child.ask(request)
        while not child.silent:
            for line in child.hear(0.5):
                return messages.MESSAGE.validate_json(line)
        raise AssertionError(child.log)


@pytest.mark.slow
@pytest.mark.parametrize("level", [SandboxLevel.LANDLOCK, SandboxLevel.NAMESPACES])
def test_a_child_reads_the_points_it_is_asked_about_and_only_the_files_it_is_shown(
    level: SandboxLevel, model: Path, data_dir: Path, tmp_path: Path
) -> None:
    strongest = real_sandbox()
    sandbox = strongest if level is SandboxLevel.NAMESPACES else replace(OPEN, level=level)
    found = answer(replace(sandbox, readable=paths(data_dir)), model, tmp_path / "scratch", data_dir)
    assert isinstance(found, Checked), found
    (accuracy,) = [check for check in found.checks if check.code == "standard_accuracy"]
    assert f"on {len(INDICES)} points" in accuracy.message
    hidden = answer(sandbox, model, tmp_path / "other", data_dir)
    assert isinstance(hidden, Failed)
    assert hidden.fault == "service"
