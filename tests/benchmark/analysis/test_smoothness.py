from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from benchmark.analysis.smoothness import layer, local_lipschitz
from benchmark.errors import InvalidInput

EPSILON = 8 / 255


def inside(n: int, seed: int = 0) -> Tensor:
    """Points whose whole neighbourhood is within [0, 1]."""
    return 0.3 + 0.4 * torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(seed))


class LinearMap(nn.Module):
    """Weights (outputs, 16) on flat images of 16 pixels."""

    def __init__(self, outputs: int, *, positive: bool = False) -> None:
        super().__init__()
        weight = torch.randn(outputs, 16, generator=torch.Generator().manual_seed(0)) / 8
        self.register_buffer("weight", weight.abs() if positive else weight)
        self.weight: Tensor

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weight.T


def test_the_constant_of_a_linear_map_with_weights_of_one_sign() -> None:
    """All inputs rise together, and every output by all its weights."""
    model = LinearMap(5, positive=True)
    exact = float(model.weight.sum())
    found = local_lipschitz(model, inside(8), EPSILON)
    assert found.shape == (8,)
    assert bool((found <= exact * (1 + 1e-4)).all())
    assert bool((found >= 0.9 * exact).all())


def test_the_constant_of_a_linear_map_with_one_output() -> None:
    """Each input moves as its weight's sign says."""
    model = LinearMap(1)
    exact = float(model.weight.abs().sum())
    found = local_lipschitz(model, inside(8), EPSILON)
    assert bool((found <= exact * (1 + 1e-4)).all())
    assert bool((found >= 0.9 * exact).all())


def test_never_above_the_norm_of_the_map() -> None:
    """Of an l1-linf norm the sum of all weights' sizes is a bound."""
    model = LinearMap(7)
    bound = float(model.weight.abs().sum())
    found = local_lipschitz(model, inside(16), EPSILON)
    assert bool((found <= bound).all())
    assert bool((found > 0.3 * bound).all())


def test_a_constant_function_is_perfectly_smooth() -> None:
    assert local_lipschitz(lambda x: 0 * x.flatten(1), inside(4), EPSILON).tolist() == [0.0] * 4


def test_direction_alone_does_not_depend_on_the_scale_of_the_output() -> None:
    model = LinearMap(5)

    scaled = LinearMap(5)
    scaled.weight *= 100

    plain = local_lipschitz(model, inside(4), EPSILON, angular=True)
    assert local_lipschitz(scaled, inside(4), EPSILON, angular=True).tolist() == pytest.approx(plain.tolist(), rel=0.02)
    factor = local_lipschitz(scaled, inside(4), EPSILON) / local_lipschitz(model, inside(4), EPSILON)
    assert factor.tolist() == pytest.approx([100] * 4, rel=0.02)
    radial = local_lipschitz(lambda x: x.mean((1, 2, 3))[:, None] * torch.ones(3), inside(4), EPSILON, angular=True)
    assert bool((radial < 1e-3).all()), "it changes its length alone"


def test_more_steps_find_no_less_and_draws_belong_to_the_points() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 5))
    x = inside(6)
    few, many = (local_lipschitz(model, x, EPSILON, steps=steps) for steps in (5, 50))
    assert bool((many >= few).all())
    index = torch.tensor([4, 5])
    alone = local_lipschitz(model, x[4:], EPSILON, index=index)
    assert alone.tolist() == pytest.approx(many[4:].tolist(), rel=1e-4)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_images_stay_within_the_budget_and_the_box() -> None:
    x = torch.cat((torch.zeros(2, 1, 4, 4), torch.ones(2, 1, 4, 4), inside(2)))
    seen: list[Tensor] = []

    def watched(given: Tensor) -> Tensor:
        seen.append(given.detach())
        return given.flatten(1) ** 2

    local_lipschitz(watched, x, EPSILON, steps=10)
    for given in seen:
        assert float(given.min()) >= 0
        assert float(given.max()) <= 1
        assert float((given - torch.cat((x, x))).abs().max()) <= EPSILON + 1e-6


def test_any_layer_can_be_looked_at() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(48, 5))
    convolution = layer(model, "0")
    x = inside(4)
    assert convolution(x).shape == (4, 3, 4, 4)
    assert torch.equal(convolution(x), model[0](x))
    assert local_lipschitz(convolution, x, EPSILON).tolist() == pytest.approx(
        local_lipschitz(model[0], x, EPSILON).tolist()
    )


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


@pytest.mark.parametrize(("name", "found"), [("9", "'9'"), ("", "''"), ("pair", "pair with another kind of output")])
def test_a_layer_that_cannot_be_looked_at_is_refused(name: str, found: str) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pair = Pair()

        def forward(self, x: Tensor) -> Tensor:
            first: Tensor = self.pair(x)[0]
            return first.flatten(1)

    with pytest.raises(InvalidInput) as caught:
        layer(Model(), name)(inside(2))
    assert caught.value.detail is not None
    assert caught.value.detail.found == found


@pytest.mark.parametrize(("epsilon", "steps", "field"), [(0.0, 50, "epsilon"), (EPSILON, 0, "steps")])
def test_a_search_that_cannot_move_is_refused(epsilon: float, steps: int, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        local_lipschitz(nn.Flatten(), inside(2), epsilon, steps=steps)
    assert caught.value.detail is not None
    assert caught.value.detail.field == field
