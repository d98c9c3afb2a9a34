"""Catastrophic overfitting in small: FGSM's network resists one step and falls to several; others do not."""

from __future__ import annotations

import pytest

from bench.overfitting import Cell, trained
from bench.overfitting_page import LARGE
from model_zoo.recipes import Trained


def collapses(result: Trained) -> list[int]:
    """Epochs after which most held-out images resist one step, and hardly any ten."""
    seen = []
    for told in result.history:
        assert told.measured is not None
        one_step, several = told.measured.one_step_accuracy, told.measured.robust_accuracy
        assert one_step is not None
        assert several is not None
        if one_step >= 0.5 and several <= 0.05:
            seen.append(told.epoch)
    return seen


@pytest.mark.slow
def test_fgsm_overfits_at_a_large_epsilon() -> None:
    _, result = trained(Cell("fgsm", LARGE, seed=0))
    assert result.overfitted_in is not None
    assert collapses(result) != []


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["grad-align", "pgd-10"])
def test_the_remedies_do_not(recipe: str) -> None:
    _, result = trained(Cell(recipe, LARGE, seed=0))
    assert result.overfitted_in is None
    assert collapses(result) == []
