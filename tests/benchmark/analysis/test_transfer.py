from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from benchmark.analysis.transfer import Method, transferability
from benchmark.errors import InvalidInput
from benchmark.threat_models import ThreatModel

METHODS = pytest.mark.parametrize("method", list(Method))
LINF = ThreatModel(norm="Linf", epsilon="1/10")


def model(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 3))


class Plane(nn.Module):
    """Class 1 where the mean of the image, times a sign, is above a half of that."""

    def __init__(self, sign: float, blind: bool = False) -> None:
        super().__init__()
        self.sign, self.blind = sign, blind

    def forward(self, x: Tensor) -> Tensor:
        mean = self.sign * (x.flatten(1).mean(1) - 0.5)
        return torch.stack((torch.zeros_like(mean), mean * (0 if self.blind else 1)), 1)


def points(n: int = 70) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(n, 1, 4, 4, generator=generator), torch.randint(3, (n,), generator=generator)


def by_hand(source: nn.Module, target: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> float:
    """The share that is right, clean and after one step along the sign."""
    leaf = x.clone().requires_grad_()
    (grad,) = torch.autograd.grad(nn.functional.cross_entropy(source(leaf), y, reduction="sum"), leaf)
    x_adv = (x + epsilon * grad.sign()).clamp(0, 1)
    with torch.no_grad():
        return float(((target(x).argmax(1) == y) & (target(x_adv).argmax(1) == y)).double().mean())


def test_one_step_is_what_it_is_by_hand() -> None:
    x, y = points()
    models = {str(seed): model(seed) for seed in range(3)}
    found = transferability(models, x, y, LINF, method=Method.FGSM)
    assert found.names == ("0", "1", "2")
    for row, source in zip(found.robust, models.values(), strict=True):
        assert row == tuple(by_hand(source, target, x, y, 0.1) for target in models.values())


@METHODS
def test_planes_whose_answers_are_known(method: Method) -> None:
    """Images lie 0.05 from the plane: what is made on it, or on a steeper one, breaks all of both."""
    x = torch.cat((torch.full((5, 1, 4, 4), 0.55), torch.full((5, 1, 4, 4), 0.45)))
    y = torch.tensor([1] * 5 + [0] * 5)
    models = {"plane": Plane(1), "steep": Plane(50), "blind": Plane(1, blind=True)}
    found = transferability(models, x, y, LINF, method=method)
    assert found.robust[0][:2] == found.robust[1][:2] == (0, 0)
    # The blind one answers 0 to everything: half are right, whatever is done to them.
    assert [row[2] for row in found.robust] == [0.5] * 3
    small = transferability(models, x, y, ThreatModel(norm="Linf", epsilon="1/100"), method=method)
    assert small.robust[0][:2] == (1, 1)


@METHODS
def test_a_model_is_to_itself_what_it_is_alone(method: Method) -> None:
    x, y = points()
    together = transferability({"a": model(0), "b": model(1)}, x, y, LINF, method=method)
    alone = transferability({"b": model(1)}, x, y, LINF, method=method)
    assert together.robust[1][1] == alone.robust[0][0]


def test_ten_steps_do_no_less_to_the_source_than_one() -> None:
    one, ten = (
        transferability({"a": model(0)}, *points(), LINF, method=method).robust[0][0]
        for method in (Method.FGSM, Method.PGD)
    )
    assert ten <= one


@pytest.mark.parametrize("norm", ["Linf", "L2", "L1"])
def test_every_norm(norm: str) -> None:
    x, y = points(20)
    found = transferability({"a": model(0), "b": model(1)}, x, y, ThreatModel(norm=norm, epsilon="1/2"))
    clean = float((model(0)(x).argmax(1) == y).double().mean())
    assert all(row[0] <= clean for row in found.robust)


def test_draws_belong_to_the_points() -> None:
    x, y = points(40)
    models = {"a": model(0), "b": model(1)}
    whole = transferability(models, x, y, LINF)
    halves = [
        transferability(models, x[rows], y[rows], LINF, index=torch.arange(40)[rows])
        for rows in (slice(0, 20), slice(20, 40))
    ]
    for row, one, other in zip(whole.robust, halves[0].robust, halves[1].robust, strict=True):
        assert row == pytest.approx([(a + b) / 2 for a, b in zip(one, other, strict=True)])


def test_no_model_is_refused() -> None:
    with pytest.raises(InvalidInput, match="models"):
        transferability({}, *points(3), LINF)
