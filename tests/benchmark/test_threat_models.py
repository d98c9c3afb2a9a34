from __future__ import annotations

import subprocess
import sys
from fractions import Fraction

import pytest

from benchmark.errors import InvalidInput, NotFound, UnsupportedNorm
from benchmark.threat_models import BOARDS, ThreatModel, official_board
from tests.house.layout import ROOT


@pytest.mark.parametrize(
    ("epsilon", "expected"),
    [
        ("8/255", Fraction(8, 255)),
        (" 8/255 ", Fraction(8, 255)),
        (8 / 255, Fraction(8, 255)),
        ("0.3", Fraction(3, 10)),
        (0.3, Fraction(3, 10)),
        (0.5, Fraction(1, 2)),
        ("5e-1", Fraction(1, 2)),
        (Fraction(4, 255), Fraction(4, 255)),
        (1, Fraction(1)),
    ],
)
def test_epsilon_is_kept_as_an_exact_fraction(epsilon: str | Fraction | float, expected: Fraction) -> None:
    threat_model = ThreatModel("Linf", epsilon)
    assert threat_model.epsilon == expected
    assert threat_model.radius == float(expected)
    assert threat_model == ThreatModel("Linf", expected)
    assert hash(threat_model) == hash(ThreatModel("Linf", expected))


@pytest.mark.parametrize(
    "epsilon",
    [0, -0.1, "0", "-8/255", "8/0", "eight", "", float("nan"), float("inf"), 1e-9, "nan", "1e400", "1e999999999"],
)
def test_bad_epsilon_is_refused(epsilon: str | float) -> None:
    with pytest.raises(InvalidInput) as caught:
        ThreatModel("L2", epsilon)
    detail = caught.value.detail
    assert detail is not None
    assert detail.field == "epsilon"
    assert detail.found == repr(epsilon)
    assert "8/255" in detail.remedy


@pytest.mark.parametrize("norm", ["linf", "L0", "", "corruptions"])
def test_unknown_norm_is_refused(norm: str) -> None:
    with pytest.raises(UnsupportedNorm) as caught:
        ThreatModel(norm, 0.1)
    assert caught.value.as_json()["error"]["code"] == "unsupported_norm"


def test_threat_model_reads_well_and_is_frozen() -> None:
    threat_model = ThreatModel("Linf", "8/255", "cifar10")
    assert str(threat_model) == "Linf, epsilon 8/255"
    with pytest.raises(AttributeError):
        threat_model.norm = "L2"  # type: ignore[misc]


def test_boards_are_named_once_and_have_budgets() -> None:
    assert len({board.name for board in BOARDS}) == len(BOARDS)
    for board in BOARDS:
        assert official_board(board.dataset, board.threat_model) is board
        if board.epsilon is None:
            with pytest.raises(UnsupportedNorm):
                _ = board.budget
        else:
            assert board.budget == ThreatModel(board.threat_model, board.epsilon, board.dataset)


@pytest.mark.parametrize(
    ("dataset", "threat_model", "epsilon", "points"),
    [
        ("cifar10", "Linf", "8/255", 10_000),
        ("cifar10", "L2", "1/2", 10_000),
        ("cifar100", "Linf", "8/255", 10_000),
        ("imagenet", "Linf", "4/255", 5_000),
        ("digits", "Linf", "1/5", 500),
        ("digits", "L2", "4/5", 500),
    ],
)
def test_official_budgets(dataset: str, threat_model: str, epsilon: str, points: int) -> None:
    board = official_board(dataset, threat_model)
    assert str(board.epsilon) == epsilon
    assert board.points == points


def test_unknown_board_is_not_found() -> None:
    with pytest.raises(NotFound) as caught:
        official_board("cifar10", "L1")
    assert caught.value.detail is not None
    assert caught.value.detail.found == "cifar10/L1"
    assert "digits/Linf" in caught.value.detail.expected


@pytest.mark.parametrize("module", ["benchmark", "benchmark.report", "benchmark.threat_models", "benchmark.errors"])
def test_what_the_service_reads_does_not_load_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT).returncode == 0
