from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from benchmark.analysis.calibration import BINS, calibration


def two_classes(confidence: Tensor) -> Tensor:
    """Logits whose greatest probability is this, for the first of two classes; from a half to 1."""
    return torch.stack((torch.log(confidence / (1 - confidence)), torch.zeros_like(confidence)), 1)


def calibrated(n: int) -> tuple[Tensor, Tensor]:
    """Points of which as many are right as the model says, for each of five confidences in bins of their own."""
    sure = torch.tensor([0.55, 0.65, 0.75, 0.85, 0.95], dtype=torch.float64)
    y = torch.stack([torch.arange(n) >= round(float(one) * n) for one in sure]).long()
    return two_classes(sure.repeat_interleave(n)), y.flatten()


def reference(logits: Tensor, y: Tensor) -> float:
    """The error as it is written in textbooks, bin by bin."""
    probabilities = logits.double().softmax(1).numpy()
    confidence, right = probabilities.max(1), probabilities.argmax(1) == y.numpy()
    error = 0.0
    for number in range(BINS):
        inside = (confidence > number / BINS) & (confidence <= (number + 1) / BINS)
        if inside.any():
            error += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    return error


def test_a_model_that_is_right_as_often_as_it_says_has_no_error() -> None:
    found = calibration(*calibrated(400))
    assert found.ece == pytest.approx(0, abs=1e-12)
    assert found.temperature == 1
    assert not found.on_border
    assert [one.points for one in found.bins if one.points] == [400] * 5
    assert all(one.confidence == pytest.approx(one.accuracy) for one in found.bins)


@pytest.mark.parametrize("temperature", [0.25, 0.5, 0.8, 1.25, 2.0, 10.0])
def test_the_temperature_of_a_miscalibrated_model_is_found(temperature: float) -> None:
    """Logits multiplied by it are put right by dividing by it."""
    logits, y = calibrated(400)
    found = calibration(logits * temperature, y)
    assert found.temperature == pytest.approx(temperature, rel=0.003)
    assert found.ece_at_temperature < 0.002
    assert found.ece > 0.02
    assert found.underconfident == (temperature < 1)


def test_an_optimum_on_the_border_is_told() -> None:
    """Always right and hardly ever sure: the sharper the better."""
    logits = torch.tensor([[1e-6, 0.0]] * 10)
    found = calibration(logits, torch.zeros(10, dtype=torch.int64))
    assert found.on_border
    assert found.temperature == 0.001


@settings(max_examples=25)  # each tries two thousand temperatures
@given(st.integers(1, 60), st.integers(2, 12), st.integers(0, 1_000))
def test_the_error_is_the_textbook_s(points: int, classes: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(points, classes, generator=generator) * 3
    y = torch.randint(classes, (points,), generator=generator)
    found = calibration(logits, y)
    assert found.ece == pytest.approx(reference(logits, y), abs=1e-9)
    assert found.ece_at_temperature <= found.ece
    assert found.ece_at_temperature == pytest.approx(reference(logits.double() / found.temperature, y), abs=1e-6)
    assert sum(one.points for one in found.bins) == points


def test_extreme_logits_neither_overflow_nor_vanish() -> None:
    found = calibration(torch.tensor([[1e30, -1e30], [-1e30, 1e30]]), torch.tensor([0, 0]))
    assert found.ece == 0.5
    assert np.isfinite(found.ece_at_temperature)
