"""A wide residual network whose features flow towards stable points of a differential equation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from model_zoo.architectures.swish_resnet import SwishWideResNet

_END = 5.0
_TOLERANCE = 1e-3
_FEATURES = 64
# Dormand & Prince 1980, table 2; the middle of a step as Shampine 1986 has it.
_STAGES = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
_ERROR = (
    35 / 384 - 1951 / 21600,
    0,
    500 / 1113 - 22642 / 50085,
    125 / 192 - 451 / 720,
    -2187 / 6784 + 12231 / 42400,
    11 / 84 - 649 / 6300,
    -1 / 60,
)
_MIDDLE = (
    6025192743 / 30085553152 / 2,
    0,
    51252292925 / 65400821598 / 2,
    -2691868925 / 45128329728 / 2,
    187940372067 / 1594534317056 / 2,
    -1776094331 / 19743644256 / 2,
    11237099 / 235043384 / 2,
)

_Rate = Callable[[Tensor], Tensor]


def flow(rate: _Rate, y: Tensor, end: float, tolerance: float) -> Tensor:
    """Solve y' = rate(y) from time 0 on, each row by itself, with steps as long as the estimated error allows.

    Args:
        rate: computes each row from that row alone.
        y: values at time 0, (n, d).
        end: time of the values wanted.
        tolerance: of the error of a step, absolutely and relative to y.
    Returns:
        Values at the end, by interpolation within the last step.
    Source:
        Dormand & Prince 1980; steps as in Hairer, Nørsett & Wanner 1993, II.4.
    """
    slope = rate(y)
    length = _first_length(rate, y, slope, tolerance)
    time, result = torch.zeros_like(length), y
    going = torch.ones_like(length, dtype=torch.bool)
    while bool(going.any()):
        h = length.to(y.dtype)
        slopes = [slope]
        new = y
        for weights in _STAGES:
            new = y + h * _weighted(weights, slopes)
            slopes.append(rate(new))
        scale = tolerance * (1 + torch.maximum(y.abs(), new.abs()))
        error = _size(h * _weighted(_ERROR, slopes) / scale)
        accepted = going & (error <= 1)
        arrived = accepted & (time + length >= end)
        part = ((end - time) / length).to(y.dtype)
        middle = y + h * _weighted(_MIDDLE, slopes)
        result = torch.where(arrived, _between(y, new, middle, h * slopes[0], h * slopes[-1], part), result)
        time = torch.where(accepted, time + length, time)
        y, slope = torch.where(accepted, new, y), torch.where(accepted, slopes[-1], slope)
        length = length * _growth(error.detach().double())
        going = going & ~arrived
    return result


def _weighted(weights: tuple[float, ...], slopes: list[Tensor]) -> Tensor:
    total = weights[0] * slopes[0]
    for weight, slope in zip(weights[1:], slopes[1:], strict=True):
        total = total + weight * slope
    return total


def _size(rows: Tensor) -> Tensor:
    return rows.square().mean(1, keepdim=True).sqrt()


@torch.no_grad()
def _first_length(rate: _Rate, y: Tensor, slope: Tensor, tolerance: float) -> Tensor:
    scale = tolerance * (1 + y.abs())
    height, steepness = _size(y / scale), _size(slope / scale)
    tried = torch.where((height < 1e-5) | (steepness < 1e-5), 1e-6, 0.01 * height / steepness)
    bend = _size((rate(y + tried * slope) - slope) / scale) / tried
    greater = torch.maximum(steepness, bend)
    guessed = torch.where(greater <= 1e-15, (tried * 1e-3).clamp_min(1e-6), (0.01 / greater) ** (1 / 5))
    return torch.minimum(100 * tried, guessed).double()


def _growth(error: Tensor) -> Tensor:
    """Return the factor of the next step's length: between 1/5 and 10, and not below 1 after a good step."""
    factor = 0.9 / error ** (1 / 5)
    return torch.maximum(factor, torch.where(error < 1, 1.0, 0.2)).clamp_max(10.0)


def _between(y: Tensor, new: Tensor, middle: Tensor, first: Tensor, last: Tensor, part: Tensor) -> Tensor:
    """Return the polynomial of degree 4 through three values with the given slopes at both ends."""
    fourth = 2 * (last - first) - 8 * (new + y) + 16 * middle
    third = 5 * first - 3 * last + 18 * y + 14 * new - 32 * middle
    second = last - 4 * first - 11 * y - 5 * new + 16 * middle
    return y + part * (first + part * (second + part * (third + part * fourth)))


class _Orthogonal(nn.Module):
    """Some columns of an orthogonal matrix: of one that is fixed, times the exponential of a skew-symmetric one."""

    def __init__(self, features: int, columns: int) -> None:
        super().__init__()
        self.base: Tensor
        self.original = nn.Parameter(torch.zeros(features, columns))
        self.register_buffer("base", torch.linalg.qr(torch.randn(features, features)).Q)

    def forward(self, x: Tensor) -> Tensor:
        features, columns = self.original.shape
        lower = nn.functional.pad(self.original, (0, features - columns)).tril(-1)
        return x @ (self.base @ torch.linalg.matrix_exp(lower - lower.T))[:, :columns]  # type: ignore[no-any-return]


class Sodef(nn.Module):
    """WRN-depth-width with Swish whose features are projected, and flow for a while, before the last layer.

    Args:
        classes: number of classes.
        depth: see `SwishWideResNet`.
        width: likewise.
        normalization: likewise.
    Source:
        Kang et al. 2021, arXiv:2110.12976. Differs: every image has steps of its own; published, the images of a batch
        share them, so that an answer depends on its neighbours.
    """

    def __init__(self, classes: int, depth: int, width: int, normalization: str) -> None:
        super().__init__()
        self.features = SwishWideResNet(classes, depth, width, normalization)
        self.features.logits = nn.Sequential()  # type: ignore[assignment] # features, not logits
        self.projection = _Orthogonal(64 * width, _FEATURES)
        self.dynamics = nn.Linear(_FEATURES, _FEATURES)
        self.head = nn.Linear(_FEATURES, classes)

    def forward(self, x: Tensor) -> Tensor:
        y = self.projection(self.features(x))
        return self.head(flow(self._rate, y, _END, _TOLERANCE))  # type: ignore[no-any-return]

    def _rate(self, y: Tensor) -> Tensor:
        return torch.sin(-self.dynamics(y))
