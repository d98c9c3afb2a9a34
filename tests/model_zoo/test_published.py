"""The networks of published checkpoints; `python -m bench.zoo` compares their answers with another implementation's."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import store
from model_zoo.architectures.normalization import NORMALIZATIONS, normalization
from model_zoo.architectures.resnet import PreActResNet, ResNet, ResNetEnsemble
from model_zoo.architectures.swish_resnet import SwishPreActResNet, SwishWideResNet
from model_zoo.architectures.wide_resnet import WideResNet
from model_zoo.published import PublishedNetwork, published

TABLES = Path(store.__file__).parent / "reference_data/paper_leaderboards.csv"
SMALL = [network for network in published() if network.parameters < 12_000_000 and network.dataset != "imagenet"]


def name_of(network: PublishedNetwork) -> str:
    return f"{network.network}-{network.models[0]}"


def test_every_model_that_the_paper_names_has_one_network() -> None:
    with TABLES.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["model_zoo_id"]]
    named = [f"{row['dataset']}/{row['threat_model']}/{row['model_zoo_id']}" for row in rows]
    models = [model for network in published() for model in network.models]
    assert len(named) == 98
    assert sorted(models) == sorted(named)


@pytest.mark.parametrize("network", published(), ids=name_of)
def test_it_has_as_many_parameters_as_published(network: PublishedNetwork) -> None:
    with torch.device("meta"):
        model = network.build()
    assert sum(parameter.numel() for parameter in model.parameters()) == network.parameters
    assert not any(key.startswith(network.unused) for key in model.state_dict() if network.unused)


@pytest.mark.parametrize("network", SMALL, ids=name_of)
def test_it_answers_each_image_by_itself(network: PublishedNetwork) -> None:
    torch.manual_seed(0)
    model = network.build()
    x = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        together, alone = model(x), torch.cat([model(x[i : i + 1]) for i in range(3)])
    assert together.shape == (3, 100 if network.dataset == "cifar100" else 10)
    assert torch.isfinite(together).all()
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    assert (together[0] - together[1]).abs().max() > 1e-5


@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_normalisation_is_no_part_of_a_state_dict(name: str) -> None:
    assert normalization(name).state_dict() == {}


def test_statistics_are_applied_channel_by_channel() -> None:
    x = torch.tensor([0.4914, 0.4822, 0.4465]).view(1, 3, 1, 1) + torch.tensor([0.2471, 0, -0.2616]).view(1, 3, 1, 1)
    found = normalization("cifar10")(x).flatten()
    torch.testing.assert_close(found, torch.tensor([1.0, 0.0, -1.0]))


def test_images_are_standardised_one_by_one_and_uniform_ones_stay_finite() -> None:
    x = torch.rand(4, 3, 32, 32)
    x[3] = 0.5
    found = normalization("image")(x).flatten(1)
    torch.testing.assert_close(found[:3].mean(1), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(found[:3].std(1), torch.ones(3))
    assert torch.equal(found[3], torch.zeros(3 * 32 * 32))


def test_an_unknown_normalisation_is_refused() -> None:
    with pytest.raises(KeyError):
        normalization("nonsense")


def test_unit_norms_bound_the_logits() -> None:
    torch.manual_seed(0)
    model = WideResNet(10, depth=10, width=1, unit_norm=True).eval()
    assert "fc.bias" not in model.state_dict()
    logits = model(torch.rand(8, 3, 32, 32))
    assert logits.abs().max() <= 1
    model.fc.weight.data *= 7  # only directions count
    torch.testing.assert_close(model(torch.rand(8, 3, 32, 32)).abs().max().clamp_min(1), torch.tensor(1.0))


def test_swish_networks_lose_no_row_at_the_far_edge() -> None:
    """Where every second place is left out, the windows reach the last row and column, not the first."""
    torch.manual_seed(0)
    model = SwishWideResNet(10, depth=10, width=1, normalization="half").eval()
    x = torch.rand(1, 3, 32, 32, requires_grad=True)
    model(x)[0, 0].backward()
    assert x.grad is not None
    edges = (x.grad[0, :, 0], x.grad[0, :, -1], x.grad[0, :, :, 0], x.grad[0, :, :, -1])
    assert all(edge.abs().max() > 0 for edge in edges)


def test_a_late_shortcut_changes_the_answer_and_no_key() -> None:
    early, late = PreActResNet(10), PreActResNet(10, late_shortcut=True)
    late.load_state_dict(early.state_dict())
    x = torch.rand(2, 3, 32, 32)
    assert (early.eval()(x) - late.eval()(x)).abs().max() > 1e-4


def test_an_ensemble_answers_with_probabilities() -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        answers = ResNetEnsemble(10, "imagenet").eval()(torch.rand(2, 3, 32, 32))
    torch.testing.assert_close(answers.sum(1), torch.ones(2))


@pytest.mark.parametrize(
    ("make", "keys"),
    [
        (lambda: ResNet(10, 18), {"bn1.bias", "layer2.0.shortcut.0.weight", "layer2.0.shortcut.1.bias", "linear.bias"}),
        (lambda: PreActResNet(10), {"conv1.weight", "layer2.0.shortcut.0.weight", "linear.bias"}),
        (lambda: SwishPreActResNet(10, "half"), {"conv_2d.weight", "layer_1.0.shortcut.weight", "logits.bias"}),
        (lambda: WideResNet(10, 10, 1), {"conv1.weight", "block2.layer.0.convShortcut.weight", "bn1.bias", "fc.bias"}),
        (lambda: SwishWideResNet(10, 10, 1, "half"), {"init_conv.weight", "layer.1.block.0.shortcut.weight"}),
    ],
    ids=["ResNet", "PreActResNet", "SwishPreActResNet", "WideResNet", "SwishWideResNet"],
)
def test_keys_are_those_of_published_checkpoints(make: Callable[[], nn.Module], keys: set[str]) -> None:
    assert keys <= set(make().state_dict())
