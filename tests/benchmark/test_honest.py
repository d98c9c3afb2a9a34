"""No honest network is rejected or flagged: trained ones of all families, robust and certified ones among them.

The large families as they are published are looked at where they are exported, in tests/model_zoo/test_families.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from benchmark import datasets
from benchmark.datasets import SHAPES
from benchmark.report import Check
from benchmark.restrictions import check_graph, run_checks
from benchmark.threat_models import official_board
from model_zoo.checkpoints.pt2 import read_program
from model_zoo.interpreter import load_program
from model_zoo.registry import ARCHITECTURES
from tests.benchmark.honest import BUNDLED, NETWORKS, SPECIAL, bundled, make_honest
from tests.model_zoo.exported import export


def findings(model: nn.Module, threat_model: str = "Linf") -> list[Check]:
    """What the service would hold against a model of the digits."""
    test, twin = datasets.load("digits", "test"), datasets.load("digits", "twin")
    budget = official_board("digits", threat_model).budget
    checks = run_checks(model, test.x, test.y, budget, classes=10, twin=(twin.x, twin.y))
    return [check for check in checks if check.outcome != "passed"]


def test_there_are_enough_of_them() -> None:
    assert len(NETWORKS) + len(SPECIAL) + sum(map(len, BUNDLED.values())) >= 12


@pytest.mark.parametrize(
    ("name", "threat_model"), [(name, threat_model) for threat_model in BUNDLED for name in BUNDLED[threat_model]]
)
def test_the_zoos_models(name: str, threat_model: str) -> None:
    assert findings(bundled(name, threat_model), threat_model) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", [*NETWORKS, *SPECIAL])
def test_trained_networks(name: str, tmp_path: Path) -> None:
    model = make_honest(name)
    test = datasets.load("digits", "test")
    assert float((model(test.x).argmax(1) == test.y).float().mean()) > 0.75
    assert findings(model) == []
    assert findings(load_program(export(model, tmp_path / "model.pt2"))) == []


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_registered_architectures_keep_the_rules_on_graphs(name: str, tmp_path: Path) -> None:
    """Of these the service sees no graph, so that they must keep the rules by what they are."""
    from model_zoo.building import build

    dataset = ARCHITECTURES[name].datasets[0]
    path = export(build(name, dataset), tmp_path / "model.pt2", torch.rand(4, *SHAPES[dataset]))
    assert [check for check in check_graph(read_program(path).graph) if check.outcome in {"flagged", "rejected"}] == []
