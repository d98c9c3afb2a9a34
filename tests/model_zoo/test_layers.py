"""Exported networks in layers: the same function, and what the search makes faster."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import gauntlet
from bench.families import FAMILIES, Family, untrained
from benchmark import ThreatModel, datasets, evaluate
from benchmark.search_model import search_model
from model_zoo.checkpoints.safetensors import load_checkpoint
from model_zoo.interpreter import load_program
from model_zoo.registry import bundled_checkpoint, card


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_each_family_is_searched_as_fast_as_the_network_itself(family: Family, tmp_path: Path) -> None:
    network = untrained(family.small).requires_grad_(False)
    images = torch.rand(8, 3, family.small_size, family.small_size)
    gauntlet.export(network, images, tmp_path / "model.pt2")
    loaded = load_program(tmp_path / "model.pt2").requires_grad_(False)
    with torch.no_grad():
        answers = loaded(images)
        torch.testing.assert_close(loaded.as_layers()(images), answers, rtol=0, atol=0)
        own = search_model(network, images, network(images))
    found = search_model(loaded, images, answers)
    assert set(own.layout.split(", ")) <= set(found.layout.split(", "))
    assert found.memory_format is own.memory_format


class Inplace(nn.Module):
    """Writes in place in the ways that authors do, and reads what was written by all of its names."""

    def __init__(self, body: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.last = nn.Linear(4, 10)
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.last(self.body(self.first(x)).mean((2, 3)))
        return logits


def twice(x: Tensor) -> Tensor:
    y = x.mul_(2)
    y.add_(1)
    return x * y


def through_a_view(x: Tensor) -> Tensor:
    part = x[:, 1:]
    part.mul_(2)
    return F.relu_(x) + x


def before_it_is_changed(x: Tensor) -> Tensor:
    y = x * 2
    x.add_(y)
    return x + y


def a_view_of_what_was_changed(x: Tensor) -> Tensor:
    y = x.mul_(2)
    z = y.view(x.shape[0], 4, -1)
    x.mul_(3)
    return z.view_as(y)


@pytest.mark.parametrize("body", [twice, through_a_view, before_it_is_changed, a_view_of_what_was_changed])
def test_what_is_changed_in_place_is_read_as_changed(body: Callable[[Tensor], Tensor], tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Inplace(body).eval()
    images = torch.rand(3, 1, 8, 8)
    gauntlet.export(network, images, tmp_path / "model.pt2")
    loaded = load_program(tmp_path / "model.pt2")
    before = {name: value.clone() for name, value in loaded.state_dict().items()}
    with torch.no_grad():
        for _ in range(2):
            torch.testing.assert_close(loaded(images), network(images), rtol=0, atol=0)
            torch.testing.assert_close(loaded.as_layers()(images), network(images), rtol=0, atol=0)
    assert all(torch.equal(value, before[name]) for name, value in loaded.state_dict().items())


class Normalising(nn.Module):
    """Changes the images themselves in place."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x.sub_(0.5)
        logits: Tensor = self.last(x.flatten(1))
        return logits


def test_a_network_that_changes_its_images_is_run_as_it_is_and_changes_nothing(tmp_path: Path) -> None:
    network = Normalising()
    images = torch.rand(3, 1, 8, 8)
    gauntlet.export(network, images, tmp_path / "model.pt2")
    loaded = load_program(tmp_path / "model.pt2")
    kept = images.clone()
    with torch.no_grad():
        answers = loaded(images)
        assert torch.equal(images, kept)
        torch.testing.assert_close(answers, network(kept.clone()), rtol=0, atol=0)
        with pytest.raises(ValueError, match="reaches the images"):
            loaded.as_layers()
        assert search_model(loaded, images, answers).layout == "contiguous"


@pytest.mark.slow
def test_an_exported_network_is_evaluated_as_its_original_in_either_precision(tmp_path: Path) -> None:
    entry = card("Digits_PGD10", "digits", "Linf")
    network = load_checkpoint(bundled_checkpoint(entry), entry.architecture, "digits")
    gauntlet.export(network, torch.rand(1, 1, 8, 8), tmp_path / "model.pt2")
    loaded = load_program(tmp_path / "model.pt2")
    points = datasets.load("digits", "test", 24)
    threat_model = ThreatModel(norm="Linf", epsilon="1/5")
    for protocol, precision in (("standard", "float32"), ("mixed", "mixed")):
        reports = [
            evaluate(model, points.x, points.y, threat_model, protocol=protocol, diagnostics=False).report
            for model in (network, loaded)
        ]
        assert reports[0].points == reports[1].points
        assert [report.provenance.precision for report in reports] == [precision, precision]
        assert reports[0].provenance.layout == reports[1].provenance.layout
