from __future__ import annotations

import math
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from benchmark.analysis.results import Sharpness
from benchmark.analysis.sharpness import sharpness
from tests.benchmark.analysis.linear import weights_of

X = torch.rand(150, 1, 2, 2, generator=torch.Generator().manual_seed(1))
Y = X.flatten(1)[:, :3].argmax(1)
ZEROS = torch.zeros(150, dtype=torch.int64)


class OneWeight(nn.Module):
    """Logits (w, 0) for every image: a loss of one weight."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([weight]))

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack((self.weight.expand(len(x)), torch.zeros(len(x))), 1) + 0 * x.flatten(1)[:, :2]


def network() -> nn.Sequential:
    torch.manual_seed(4)
    layers = (nn.Flatten(), nn.Linear(4, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, bias=False))
    return nn.Sequential(*layers).eval()


def rises(model: nn.Module) -> list[float]:
    found = sharpness(model, X, Y, split="test")
    return [at.rise for at in (*found.average, *found.worst)]


@pytest.mark.parametrize("weight", [1.5, -0.7])
def test_of_one_weight_the_worst_move_is_known(weight: float) -> None:
    radii = (0.01, 0.1, 0.5)
    found = sharpness(OneWeight(weight), X, ZEROS, split="test", worst_rho=radii, normalised=False)

    def loss(w: float) -> float:
        return math.log1p(math.exp(-w))

    assert found.loss == pytest.approx(loss(weight), rel=1e-5)
    for at, rho in zip(found.worst, radii, strict=True):
        assert at.rise == pytest.approx(loss(weight - rho * abs(weight)) - loss(weight), rel=1e-3)


def test_on_average_a_loss_rises_by_its_curvature() -> None:
    """Half the second derivative times the variance of the move, up to the chance of the draws."""
    weight, rho, seeds = 1.5, 0.2, 40
    found: list[Sharpness] = [
        sharpness(
            OneWeight(weight), X, ZEROS, split="test", average_rho=(rho,), worst_rho=(), normalised=False, seed=seed
        )
        for seed in range(seeds)
    ]
    share = 1 / (1 + math.exp(weight))
    expected = 0.5 * share * (1 - share) * (rho * weight) ** 2
    # The linear part has mean 0; each seed draws 20 moves for 128 points and 20 more for the other 22.
    of_a_seed = share * rho * weight * math.hypot(128, 22) / 150 / math.sqrt(20)
    mean = sum(one.average[0].rise for one in found) / seeds
    assert abs(mean - expected) < 3 * of_a_seed / math.sqrt(seeds)
    assert len({one.average[0].rise for one in found}) == seeds, "every seed has draws of its own"


def test_nothing_moves_by_nothing_and_a_greater_radius_is_no_better() -> None:
    found = sharpness(network(), X, Y, split="test", average_rho=(0.0, 0.05), worst_rho=(0.0, 0.02, 0.2))
    assert [found.average[0].rise, found.worst[0].rise] == pytest.approx([0.0, 0.0], abs=1e-6)
    assert 0 < found.worst[1].rise < found.worst[2].rise


def test_no_random_move_within_the_radius_is_worse_than_the_worst() -> None:
    model, rho = network(), 0.2
    found = sharpness(model, X[:100], Y[:100], split="test", worst_rho=(rho,), normalised=False)
    generator = torch.Generator().manual_seed(9)
    for _ in range(200):
        moved = deepcopy(model)
        with torch.no_grad():
            for weight in moved.parameters():
                weight.mul_(1 + rho * (2 * torch.rand(weight.shape, generator=generator) - 1))
            loss = float(nn.functional.cross_entropy(moved(X[:100]), Y[:100]))
        assert loss - found.loss <= found.worst[0].rise + 1e-6


def test_shifting_size_from_one_layer_to_the_next_changes_nothing() -> None:
    model = network()
    other = deepcopy(model)
    with torch.no_grad():
        weights_of(other, 1).mul_(8)
        weights_of(other, 3).div_(8)
    assert rises(other) == pytest.approx(rises(model), rel=1e-3, abs=1e-6)


def test_scaling_logits_changes_nothing_where_they_are_normalised() -> None:
    model = network()
    other = deepcopy(model)
    with torch.no_grad():
        weights_of(other, 3).mul_(10)
    assert rises(other) == pytest.approx(rises(model), rel=1e-3, abs=1e-6)
    plain, scaled = (sharpness(one, X, Y, split="test", normalised=False) for one in (model, other))
    assert plain.worst[-1].rise != pytest.approx(scaled.worst[-1].rise, rel=0.1)


def test_a_batch_may_be_sent_through_in_parts() -> None:
    whole, parts = (sharpness(network(), X, Y, split="test", width=width) for width in (128, 48))
    assert parts.loss == pytest.approx(whole.loss, rel=1e-6)
    for one, other in zip((*whole.average, *whole.worst), (*parts.average, *parts.worst), strict=True):
        assert other.rise == pytest.approx(one.rise, rel=1e-3, abs=1e-6)


def test_the_model_is_left_as_it_was() -> None:
    model = network()
    before = deepcopy(model.state_dict())
    rises(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(weight.grad is None and weight.requires_grad for weight in model.parameters())
