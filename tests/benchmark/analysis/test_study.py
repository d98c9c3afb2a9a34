from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmark import datasets
from benchmark.analysis.calibration import calibration
from benchmark.analysis.material import LeftOut, Material
from benchmark.analysis.results import MAX_STUDY_BYTES, Analysis, Study, merge_studies
from benchmark.analysis.study import SMOOTHNESS_EPSILON, TABLE, study
from benchmark.threat_models import ThreatModel, official_board
from model_zoo import load_model

BUDGET = official_board("digits", "Linf").budget


OF_ONE = (Analysis.CALIBRATION, Analysis.FAIRNESS, Analysis.PRIVACY, Analysis.SMOOTHNESS)


def split(name: str, n: int = 40) -> datasets.LabelledPoints:
    return datasets.load("digits", name, n)


@pytest.fixture(scope="module")
def found() -> dict[str, Study]:
    """Two models of the zoo, undefended and robust."""
    return {
        name: study(Material(load_model(name, dataset="digits", threat_model="Linf"), split("test"), BUDGET), OF_ONE)
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
    assert set(one.seconds) == set(one.made) == set(OF_ONE)
    assert one.privacy is not None
    assert (one.privacy.benign.members, one.privacy.benign.others) == (40, 40)


def test_only_what_is_asked_for_is_done_and_the_model_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).train()
    one = study(Material(model, split("test", 10), BUDGET), [Analysis.CALIBRATION, Analysis.SMOOTHNESS])
    assert (one.fairness, one.privacy) == (None, None)
    assert one.calibration is not None
    assert one.smoothness is not None
    assert one.smoothness.points == 10
    assert model.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())


def test_what_cannot_be_made_is_left_out_with_the_reason() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval()
    points = split("test", 10)
    of_no_data_set = Material(model, points, ThreatModel("Linf", "0.2"))
    one = study(of_no_data_set, [Analysis.CALIBRATION, Analysis.PRIVACY, Analysis.TRANSFER])
    assert one.made == (Analysis.CALIBRATION,)
    assert one.left_out == {
        Analysis.PRIVACY: "the points are of no known data set",
        Analysis.TRANSFER: "there is no other model to carry examples over to",
    }
    with pytest.raises(LeftOut, match="the train split of cifar10 is not here"):
        _ = Material(model, points, ThreatModel("Linf", "0.2", "cifar10"), data_dir="/nowhere").train


def test_studies_of_one_model_are_put_together(found: dict[str, Study]) -> None:
    one = found["Digits_Standard"]
    parts = [
        one.model_copy(update={name: None for name in one.made if name != analysis} | {"seconds": {analysis: 1.0}})
        for analysis in one.made
    ]
    assert merge_studies(parts) == one.model_copy(update={"seconds": dict.fromkeys(one.made, 1.0)})
    with pytest.raises(ValueError, match="not of the same model"):
        merge_studies([one, found["Digits_PGD10"].model_copy(update={"points": 39})])
    with pytest.raises(ValueError, match="nothing to merge"):
        merge_studies([])


def test_a_study_is_read_back_as_it_was_and_anything_else_is_refused(found: dict[str, Study]) -> None:
    one = found["Digits_PGD10"]
    content = one.to_bytes()
    assert Study.from_bytes(content) == one
    for broken in (b"", b"{}", content.replace(b'"points":40', b'"points":-1'), b" " * (MAX_STUDY_BYTES + 1)):
        with pytest.raises(ValueError, match=r"."):
            Study.from_bytes(broken)


def test_every_analysis_is_in_the_table() -> None:
    assert set(TABLE) == set(Analysis)
