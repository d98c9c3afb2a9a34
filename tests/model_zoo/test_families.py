"""Each family of networks that people submit, from the network to its file and back, in every form it is run in."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import gauntlet
from bench.families import FAMILIES, Family, untrained
from benchmark.restrictions import run_checks
from benchmark.threat_models import ThreatModel
from model_zoo.interpreter import Interpreter, load_program
from tests.model_zoo.exported import Small, export


@dataclass(frozen=True)
class Pair:
    """A network, and what was read from its file."""

    network: nn.Module
    loaded: nn.Module
    images: Tensor


@pytest.fixture(scope="module", params=FAMILIES, ids=lambda family: family.name)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    family: Family = request.param
    network = untrained(family.small)
    images = torch.rand(7, 3, family.small_size, family.small_size)
    path = gauntlet.export(network, images[:1], tmp_path_factory.mktemp("family") / "model.pt2").path
    return Pair(network, load_program(path), images)


def answers(model: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Logits, and the gradient of what draws on all of them."""
    images = images.clone(memory_format=torch.preserve_format).requires_grad_()
    logits: Tensor = model(images)
    (gradient,) = torch.autograd.grad(logits.logsumexp(1).sum(), images)
    return logits.detach(), gradient


def assert_agree(pair: Pair, images: Tensor, tolerance: float) -> None:
    for ours, theirs in zip(answers(pair.loaded, images), answers(pair.network, images), strict=True):
        assert ours.dtype == theirs.dtype == images.dtype
        assert float(theirs.abs().max()) > 0
        assert float((ours - theirs).abs().max() / theirs.abs().max()) <= tolerance


@pytest.mark.parametrize("rows", [1, 3, 7])
def test_logits_and_gradients_are_the_networks_own(pair: Pair, rows: int) -> None:
    assert_agree(pair, pair.images[:rows], 1e-5)


@pytest.mark.parametrize(
    ("dtype", "memory_format", "tolerance"),
    [
        (torch.float32, torch.channels_last, 1e-5),
        (torch.float64, torch.contiguous_format, 1e-12),
        # Rounding to 8 bits in every operation: where one is done in another order, a few of its steps.
        (torch.bfloat16, torch.contiguous_format, 2**-5),
    ],
    ids=["channels_last", "float64", "bfloat16"],
)
def test_they_are_in_every_form_that_networks_run_in(
    pair: Pair, dtype: torch.dtype, memory_format: torch.memory_format, tolerance: float
) -> None:
    network, loaded = (
        copy.deepcopy(model).to(dtype).to(memory_format=memory_format)  # type: ignore[call-overload]  # not in its stubs
        for model in (pair.network, pair.loaded)
    )
    images = pair.images[:3].to(dtype).to(memory_format=memory_format)
    assert_agree(Pair(network, loaded, images), images, tolerance)


def test_a_copy_is_the_same_network_with_parameters_of_its_own(tmp_path: Path) -> None:
    loaded = load_program(export(Small(), tmp_path / "model.pt2"))
    copied = copy.deepcopy(loaded)
    assert isinstance(copied, Interpreter)
    images = torch.rand(3, 1, 8, 8)
    expected = loaded(images)
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.zero_()
    assert torch.equal(loaded(images), expected)
    assert not copied(images).any()


class Making(Small):
    """What makes tensors in each call, in the type of the images and in torch's default one."""

    def forward(self, x: Tensor) -> Tensor:
        places = torch.arange(8, dtype=x.dtype) / 8 + torch.full((8,), 0.25) + torch.ones(8) - torch.zeros(8)
        counted = (torch.arange(8) > 3).to(x.dtype)
        return super().forward(x * places * counted.type_as(x) + torch.eye(8))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_what_a_network_makes_is_of_the_type_of_its_images(dtype: torch.dtype, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Making().eval()
    loaded = load_program(export(network, tmp_path / "model.pt2")).to(dtype)
    found = loaded(torch.full((2, 1, 8, 8), 0.5, dtype=dtype))
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), network(torch.full((2, 1, 8, 8), 0.5)), rtol=0.05, atol=0.05)


@pytest.mark.slow
def test_none_breaks_a_rule(pair: Pair) -> None:
    shape = pair.images.shape[1:]
    x = torch.rand(32, *shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        y = pair.network(x).argmax(1)
    checks = run_checks(pair.loaded, x[:16], y[:16], ThreatModel("Linf", "8/255"), twin=(x[16:], y[16:]))
    codes = {check.code for check in checks if check.outcome in {"flagged", "rejected"}}
    # So few points of so many random images say nothing about a lookup.
    assert codes <= {"test_set_lookup"}
