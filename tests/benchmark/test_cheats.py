"""Every toy cheat is betrayed by the finding of its own, as a module and as an exported network."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch

from benchmark import datasets
from benchmark.errors import InvalidCheckpoint
from benchmark.report import Check
from benchmark.restrictions import check_graph, run_checks
from benchmark.threat_models import official_board
from model_zoo.checkpoints.pt2 import read_program
from model_zoo.interpreter import load_program
from tests.benchmark.cheats import CHEATS, Cheat
from tests.model_zoo.exported import export

BUDGET = official_board("digits", "Linf").budget
ROWS = (
    "randomness",
    "state",
    "batch dependence",
    "zero gradients",
    "straight-through, shattered",
    "softmax or saturated output",
    "NaN / Inf logits",
    "off-grid or corner detection",
    "detecting the attack",
    "looking up the test set",
    "inner optimisation",
)


def checked(model: torch.nn.Module) -> tuple[Check, ...]:
    """Check a model as the service does."""
    test, twin = datasets.load("digits", "test"), datasets.load("digits", "twin")
    return run_checks(model, test.x, test.y, BUDGET, classes=10, twin=(twin.x, twin.y))


def found(checks: tuple[Check, ...]) -> set[tuple[str, str]]:
    return {(check.code, check.outcome.value) for check in checks}


def test_there_are_enough_of_them_and_each_row_has_some() -> None:
    assert len(CHEATS) >= 25
    assert set(Counter(cheat.row for cheat in CHEATS)) == set(ROWS)
    assert len({cheat.name for cheat in CHEATS}) == len(CHEATS)
    assert all(cheat.model or cheat.graph for cheat in CHEATS)


@pytest.mark.parametrize("cheat", [cheat for cheat in CHEATS if cheat.model], ids=lambda cheat: cheat.name)
def test_as_a_module(cheat: Cheat) -> None:
    assert cheat.model is not None
    checks = checked(cheat.make())
    assert cheat.model in found(checks), checks
    (own,) = [check for check in checks if check.code == cheat.model[0]]
    assert own.remedy
    assert own.message
    if own.value is not None:
        assert own.threshold is not None
        assert own.value >= own.threshold or own.code in {"softmax_output", "randomized"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("cheat", [cheat for cheat in CHEATS if cheat.graph], ids=lambda cheat: cheat.name)
def test_as_an_exported_network(cheat: Cheat, tmp_path: Path) -> None:
    assert cheat.graph is not None
    torch._dynamo.reset()  # a branch that has run before cannot be exported
    path = export(cheat.make(), tmp_path / "model.pt2")
    checks = check_graph(read_program(path).graph)
    try:
        network = load_program(path)
    except InvalidCheckpoint:
        # It is read for the sake of the rule that it breaks, and never run.
        assert any(check.outcome == "rejected" for check in checks)
    else:
        checks = checked(network)
    assert cheat.graph in found(checks), checks
