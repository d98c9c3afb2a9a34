"""Rewritten models answer as before, with the same gradients, and nothing is rewritten that must not be."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmark.rewriting import Pooling, rewritten

Way = Callable[[Any, Tensor], Tensor]


class Net(nn.Module):
    """Two convolutions with normalisation and whatever way through them."""

    def __init__(self, way: Way) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.first_norm = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.second, self.second_norm = nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.relu, self.in_place = nn.ReLU(), nn.ReLU(inplace=True)
        self.pool, self.indices = nn.MaxPool2d(2), nn.MaxPool2d(2, return_indices=True)
        for norm in (self.first_norm, self.second_norm):
            nn.init.normal_(norm.weight)
            nn.init.normal_(norm.bias)
        self._way = way
        self.eval().requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self._way(self, x)


def _both(model: nn.Module, x: Tensor, weight_seed: int = 1) -> tuple[Tensor, Tensor]:
    leaf = x.clone().requires_grad_()
    out = model(leaf)
    weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(weight_seed))
    return out.detach(), torch.autograd.grad((out * weight).sum(), leaf)[0]


REWRITTEN: dict[str, tuple[Way, tuple[str, ...]]] = {
    "functional": (lambda n, x: functional.max_pool2d(functional.relu(n.first(x)), 2), ("pooled first",)),
    "torch's names": (lambda n, x: torch.max_pool2d(torch.relu(n.first(x)), 2), ("pooled first",)),
    "named arguments": (lambda n, x: torch.max_pool2d(torch.relu(input=n.first(x)), 2), ("pooled first",)),
    "method": (lambda n, x: n.pool(n.first(x).relu()), ("pooled first",)),
    "modules": (lambda n, x: n.pool(n.relu(n.first(x))), ("pooled first",)),
    "in place": (lambda n, x: n.pool(n.in_place(n.first(x))), ("pooled first",)),
    "keywords": (
        lambda n, x: functional.max_pool2d(functional.relu(input=n.first(x)), kernel_size=3, stride=2, padding=1),
        ("pooled first",),
    ),
    "rounding up": (
        lambda n, x: functional.max_pool2d(functional.relu(n.first(x)), 2, ceil_mode=True), ("pooled first",),
    ),
    "twice": (
        lambda n, x: n.pool(n.relu(n.second_norm(n.second(n.pool(n.relu(n.first_norm(n.first(x)))))))),
        ("folded", "pooled first"),
    ),
    "no ReLU": (lambda n, x: n.pool(torch.tanh(n.first(x))), ("pooled first",)),
    "folded": (lambda n, x: n.relu(n.first_norm(n.first(x))), ("folded",)),
    "a ReLU with another reader": (lambda n, x: _pooled_and_summed(n.relu(n.first(x))), ("pooled first",)),
    "a convolution with another reader": (lambda n, x: _read_after(n, n.first(x)), ("pooled first",)),
}  # fmt: skip


def _pooled_and_summed(x: Tensor) -> Tensor:
    return functional.max_pool2d(x, 2) + x.sum((2, 3), keepdim=True)


def _read_after(net: Any, x: Tensor) -> Tensor:
    pooled: Tensor = net.pool(net.in_place(x))
    # What was written in place is read here.
    return pooled + x.sum((2, 3), keepdim=True)


@pytest.mark.parametrize("name", REWRITTEN)
def test_rewritten_models_are_the_same_function(name: str) -> None:
    way, steps = REWRITTEN[name]
    model = Net(way)
    found, done = rewritten(model)
    assert done == steps
    for height, width in ((12, 10), (9, 7)):
        x = torch.rand(8, 3, height, width)
        for one, other in zip(_both(found, x), _both(model, x), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
        with torch.no_grad():
            torch.testing.assert_close(found(x), model(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["functional", "named arguments", "modules", "in place", "twice"])
def test_relu_comes_behind_the_pooling(name: str) -> None:
    found, _ = rewritten(Net(REWRITTEN[name][0]))
    order = [str(node.target) for node in found.graph.nodes if node.op.startswith("call")]
    places = [place for place, target in enumerate(order) if target.startswith("_pooling")]
    assert places
    assert all("relu" in order[place + 1] or order[place + 1] == "in_place" for place in places)
    assert not any("norm" in target for target in order)


@pytest.mark.parametrize(
    "way",
    [
        lambda n, x: n.relu(n.first(x)),
        lambda n, x: n.indices(n.relu(n.first(x)))[0],
        # One normalisation behind two convolutions, or a convolution whose answer is used twice.
        lambda n, x: n.first_norm(n.second(n.relu(n.first_norm(n.first(x))))),
        lambda n, x: sum((y := n.first(x), n.first_norm(y))),
    ],
    ids=["nothing", "places of the maxima", "shared", "read twice"],
)
def test_what_must_stay_stays(way: Way) -> None:
    with pytest.raises(ValueError, match="nothing to rewrite"):
        rewritten(Net(way))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_pooling_without_gradient_is_pooling(dtype: torch.dtype, memory_format: torch.memory_format) -> None:
    for height, width in itertools.product((2, 5, 8), (2, 3, 10)):
        x = torch.randn(4, 3, height, width).to(dtype).contiguous(memory_format=memory_format)
        found = Pooling(2)(x)
        assert torch.equal(found, functional.max_pool2d(x, 2))
        assert found.is_contiguous(memory_format=memory_format)
    x = torch.randn(4, 3, 5, 8).to(dtype)
    for same in (Pooling((2, 2)), Pooling([2, 2], stride=[2, 2], padding=[0, 0])):  # type: ignore[arg-type]
        assert torch.equal(same(x), functional.max_pool2d(x, 2))
    x = torch.zeros(1, 1, 2, 2)
    x[0, 0, 1, 0] = torch.nan
    assert bool(Pooling(2)(x).isnan()[0, 0, 0, 0])


def test_original_is_left_alone() -> None:
    model = Net(REWRITTEN["twice"][0])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    rewritten(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert type(model.pool) is nn.MaxPool2d
