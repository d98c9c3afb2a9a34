"""What the service would say of a file, before it is sent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

import gauntlet
from gauntlet.cli import main
from model_zoo import load_model
from tests.model_zoo.exported import Small

BOARD = ("--dataset", "digits", "--threat-model", "Linf")


class Silent(Small):
    """Whose answers nothing in the image changes."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 0


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, str]]:
    """Run the command and return its exit code and the outcome of each check."""
    with pytest.raises(SystemExit) as ended:
        main(["check", *arguments, *BOARD, "--json"])
    content = json.loads(capsys.readouterr().out)
    outcomes = {check["code"]: check["outcome"] for check in content["checks"]} if "checks" in content else content
    return int(ended.value.code or 0), outcomes


@pytest.mark.slow
def test_an_exported_network_passes_as_it_does_with_the_service(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = load_model("Digits_FGSM", dataset="digits", threat_model="Linf")
    path = gauntlet.export(model, torch.rand(1, 1, 8, 8), tmp_path / "mine.pt2").path
    code, outcomes = told(capsys, str(path))
    assert code == 0
    assert set(outcomes.values()) == {"passed"}


@pytest.mark.slow
def test_a_network_without_gradients_is_rejected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = gauntlet.export(Silent(), torch.rand(1, 1, 8, 8), tmp_path / "mine.pt2").path
    code, outcomes = told(capsys, str(path))
    assert code == 1
    assert outcomes["zero_gradient"] == "rejected"


def test_a_state_dict_passes_as_it_does_with_the_service(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = load_model("Digits_FGSM", dataset="digits", threat_model="Linf")
    path = tmp_path / "mine.pt"
    torch.save({"state_dict": {f"module.{key}": value for key, value in model.state_dict().items()}}, path)
    code, outcomes = told(capsys, str(path), "--architecture", "digits_cnn")
    assert code == 0
    assert set(outcomes.values()) == {"passed"}


def test_a_file_of_another_kind_is_refused_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.pt"
    torch.save(Small(), path)
    code, answer = told(capsys, str(path))
    assert code == 2
    assert "gauntlet.export" in str(answer)
