"""Calibration: whether a model is right as often as it says it is, and which temperature would make it so."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark.analysis.results import Bin, Calibration

BINS = 15
_GRID = 1_000
"""Temperatures are tried at t and 1/t for t in 1/1000, 2/1000, …, 1."""


def calibration(logits: Tensor, y: Tensor) -> Calibration:
    """Measure the expected calibration error, and search the temperature with the least.

    The confidence of a point is the greatest probability of its softmax. The error is the mean over the points of the
    distance between mean confidence and accuracy of their bin; there are 15 bins of equal width, and a confidence on a
    border belongs below it. The temperature is found by a search of the error itself over a grid, t and 1/t for t in
    [0.001, 1] in steps of 0.001; of several with the least error it is the one closest to 1.

    Args:
        logits: (n, classes).
        y: labels, (n,), int64.
    Source:
        Croce et al. 2021, arXiv:2010.09670, section 4 and appendix; the error is Naeini et al. 2015, the temperature is
        Guo et al. 2017, arXiv:1706.04599. Differs: float64.
    """
    values = logits.double()
    correct = (values.argmax(1) == y).double()
    sure = maximum_confidence(values)
    at_one = _error(sure, correct)
    found = (at_one, 0.0, 1.0)
    for t in range(1, _GRID):
        for temperature in (t / _GRID, _GRID / t):
            apart = abs(torch.tensor(temperature).log().item())
            found = min(found, (_error(maximum_confidence(values, temperature), correct), apart, temperature))
    error, _, temperature = found
    return Calibration(
        points=len(y),
        ece=at_one,
        temperature=temperature,
        ece_at_temperature=error,
        on_border=temperature in {1 / _GRID, float(_GRID)},
        bins=_bins(sure, correct),
    )


def maximum_confidence(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Return the greatest probability of each point's softmax, (n,), in float64.

    Args:
        logits: (n, classes).
        temperature: what they are divided by, > 0.
    """
    values = logits.double()
    return 1 / ((values - values.amax(1, keepdim=True)) / temperature).exp().sum(1)


def _places(confidence: Tensor) -> Tensor:
    ends = torch.linspace(0, 1, BINS + 1, dtype=confidence.dtype, device=confidence.device)[1:-1]
    return torch.bucketize(confidence, ends)


def _sums(confidence: Tensor, *values: Tensor) -> list[Tensor]:
    """Return for each column of values its sum in every bin."""
    place = _places(confidence)
    return [
        torch.zeros(BINS, dtype=torch.float64, device=place.device).index_add(0, place, column) for column in values
    ]


def _error(confidence: Tensor, correct: Tensor) -> float:
    confident, right = _sums(confidence, confidence, correct)
    return min(1.0, float((confident - right).abs().sum()) / len(correct))


def _bins(confidence: Tensor, correct: Tensor) -> tuple[Bin, ...]:
    points, confident, right = _sums(confidence, torch.ones_like(confidence), confidence, correct)
    some = points.clamp(min=1)
    rows = zip(points.tolist(), (confident / some).tolist(), (right / some).tolist(), strict=True)
    return tuple(Bin(points=int(count), confidence=min(1.0, sure), accuracy=share) for count, sure, share in rows)
