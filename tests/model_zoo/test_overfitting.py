"""Catastrophic overfitting in small: FGSM's network resists one step and falls to several; others do not."""

from __future__ import annotations

import pytest

from bench.overfitting import Cell, enlarged, trained
from bench.overfitting_page import LARGE
from benchmark.threat_models import ThreatModel
from model_zoo.recipes.monitoring import Measurement, measure


def measured(recipe: str) -> tuple[Measurement, int | None]:
    model, result = trained(Cell(recipe, LARGE, seed=0))
    return measure(model, enlarged("test"), ThreatModel("Linf", LARGE)), result.overfitted_in


@pytest.mark.slow
def test_fgsm_overfits_at_a_large_epsilon() -> None:
    found, overfitted_in = measured("fgsm")
    assert overfitted_in is not None
    assert found.overfitted
    assert found.one_step_accuracy is not None
    assert found.robust_accuracy is not None
    assert found.one_step_accuracy >= 0.5
    assert found.robust_accuracy <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["grad-align", "pgd-10"])
def test_the_remedies_do_not(recipe: str) -> None:
    found, overfitted_in = measured(recipe)
    assert overfitted_in is None
    assert not found.overfitted
    assert found.robust_accuracy is not None
    assert found.robust_accuracy >= 0.1
