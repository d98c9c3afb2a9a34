from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmark import datasets
from benchmark.analysis.calibration import calibration
from benchmark.analysis.study import SMOOTHNESS_EPSILON, Analysis, Study, study
from benchmark.threat_models import official_board
from model_zoo import load_model

BUDGET = official_board("digits", "Linf").budget


def split(name: str, n: int = 40) -> datasets.LabelledPoints:
    return datasets.load("digits", name, n)


@pytest.fixture(scope="module")
def found() -> dict[str, Study]:
    """Two models of the zoo, undefended and robust."""
    return {
        name: study(load_model(name, dataset="digits", threat_model="Linf"), split("test"), split("train"), BUDGET)
        for name in ("Digits_Standard", "Digits_PGD10")
    }


def test_a_robust_model_is_underconfident_and_smoother(found: dict[str, Study]) -> None:
    plain, robust = found["Digits_Standard"], found["Digits_PGD10"]
    assert robust.calibration is not None
    assert robust.calibration.underconfident
    assert plain.smoothness is not None
    assert robust.smoothness is not None
    assert robust.smoothness.epsilon == SMOOTHNESS_EPSILON
    assert robust.smoothness.lipschitz < plain.smoothness.lipschitz
    assert robust.smoothness.angular_lipschitz < plain.smoothness.angular_lipschitz
    assert plain.fairness is not None
    assert robust.fairness is not None
    assert plain.fairness.robust_spread is None, "nothing of it is robust"
    assert robust.fairness.robust_spread is not None


def test_numbers_are_those_of_the_single_analyses(found: dict[str, Study]) -> None:
    model = load_model("Digits_Standard", dataset="digits", threat_model="Linf")
    points = split("test")
    with torch.no_grad():
        alone = calibration(model(points.x), points.y)
    one = found["Digits_Standard"]
    assert one.calibration is not None
    assert one.calibration.ece == pytest.approx(alone.ece, abs=1e-6)
    assert (one.points, one.dataset, one.epsilon) == (40, "digits", "1/5")
    assert set(one.seconds) == {analysis.value for analysis in Analysis}
    assert one.privacy is not None
    assert (one.privacy.benign.members, one.privacy.benign.others) == (40, 40)


def test_only_what_is_asked_for_is_done_and_the_model_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).train()
    one = study(model, split("test", 10), None, BUDGET, analyses=[Analysis.CALIBRATION, Analysis.SMOOTHNESS])
    assert (one.fairness, one.privacy) == (None, None)
    assert one.calibration is not None
    assert one.smoothness is not None
    assert one.smoothness.points == 10
    assert model.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
