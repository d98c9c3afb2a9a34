"""From a network to a file that the service takes, or to the reason why there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import gauntlet
from benchmark.errors import InvalidCheckpoint, InvalidInput
from model_zoo import load_model
from model_zoo.checkpoints.formats import check_file
from tests.model_zoo.exported import Small


def test_a_network_becomes_a_file_that_is_the_network(tmp_path: Path) -> None:
    model = load_model("Digits_PGD10", dataset="digits", threat_model="Linf")
    exported = gauntlet.export(model, torch.rand(1, 1, 8, 8), tmp_path / "mine.pt2")
    assert exported.difference <= 1e-5
    assert check_file(exported.path) == "pt2"
    assert list(tmp_path.iterdir()) == [exported.path]


def test_the_network_is_left_as_it_was(tmp_path: Path) -> None:
    model = Small().double().train()
    gauntlet.export(model, torch.rand(3, 1, 8, 8, dtype=torch.float64), tmp_path / "mine.pt2")
    assert model.training
    assert model.conv.weight.dtype is torch.float64


class Branching(Small):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if x.mean() > 0.5 else super().forward(-x)


class Counting(Small):
    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x)


@pytest.mark.parametrize(
    ("model", "error", "found"),
    [(Branching, InvalidInput, "torch.export cannot export"), (Counting, InvalidCheckpoint, "in each call")],
)
def test_what_cannot_be_submitted_is_told_before_it_is_sent(
    model: type[nn.Module], error: type[Exception], found: str, tmp_path: Path
) -> None:
    (tmp_path / "mine.pt2").write_bytes(b"the one before")
    with pytest.raises(error, match=found):
        gauntlet.export(model(), torch.rand(1, 1, 8, 8), tmp_path / "mine.pt2")
    assert (tmp_path / "mine.pt2").read_bytes() == b"the one before"


class Counted(Small):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + torch.zeros(1, 10).expand(len(x), -1)


def test_a_batch_counted_by_python_is_told_how_to_count_it(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as refused:
        gauntlet.export(Counted(), torch.rand(1, 1, 8, 8), tmp_path / "mine.pt2")
    assert refused.value.detail is not None
    assert "x.shape[0]" in refused.value.detail.remedy


@pytest.mark.parametrize(
    "example", [torch.rand(1, 8, 8), torch.zeros(0, 1, 8, 8), torch.zeros(1, 1, 8, 8, dtype=torch.uint8)]
)
def test_an_example_is_a_batch_of_images(example: Tensor, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="example"):
        gauntlet.export(Small(), example, tmp_path / "mine.pt2")


class Labels(Small):
    """Has no gradient anywhere."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.one_hot(super().forward(x).argmax(1), 10).float()


class Detached(Small):
    """Has gradients of its parameters, none of the image."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.detach())


class Undefined(Small):
    """Answers some images with what is not a number."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / (x.amax((1, 2, 3)) < 0.99).view(-1, 1)


@pytest.mark.parametrize("model", [Labels, Detached, Undefined])
def test_a_network_against_the_rules_is_exported_all_the_same(model: type[nn.Module], tmp_path: Path) -> None:
    """What is wrong with it the check of the file says, with a value and a remedy."""
    exported = gauntlet.export(model(), torch.rand(1, 1, 8, 8), tmp_path / "mine.pt2")
    assert exported.difference <= 1e-5
