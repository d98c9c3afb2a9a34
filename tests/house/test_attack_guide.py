from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmark import datasets
from benchmark.classifier import Classifier
from benchmark.engine import Engine, PointSet
from benchmark.norms import norm_named
from benchmark.report import CheckOutcome, EvaluationReport
from benchmark.threat_models import official_board
from gauntlet.cli.own_attack import attack_of
from model_zoo.registry import bundled_report, card
from model_zoo.testbed import Setting, attack_models, choose, overlap
from tests.house.layout import ROOT

GUIDE = (ROOT / "docs/adding-an-attack.md").read_text(encoding="utf-8")
IDEA, ATTACK = re.findall(r"```python\n(.*?)```", GUIDE, flags=re.DOTALL)
SHAPE = (1, 3, 5)


def test_the_attack_in_the_guide_works_as_printed() -> None:
    """On a classifier that compares one pixel with 0.5, noise breaks exactly the points within reach of it."""
    namespace: dict[str, Any] = {}
    exec(compile(ATTACK, "docs/adding-an-attack.md", "exec"), namespace)  # noqa: S102

    linear = nn.Linear(15, 2)
    with torch.no_grad():
        linear.weight.zero_()[1, 0] = 1.0
        linear.bias.zero_()[1] = -0.5
    model = nn.Sequential(nn.Flatten(), linear)
    x = torch.full((3, 15), 0.5)
    x[:, 0] = torch.tensor([0.45, 0.05, 0.95])
    y = torch.tensor([0, 0, 1])
    classifier = Classifier(model, SHAPE, 8)
    points = PointSet(x, y, torch.arange(3), classifier.logits_of_all(x))
    attack = namespace["Noise"](norm_named("Linf"), 0.2, SHAPE)

    findings = Engine(attack, classifier, Classifier(model, SHAPE, 8), points, seed=0).run()

    assert findings.broken.tolist() == [True, False, False]
    assert findings.over_budget == 0


def test_the_function_in_the_guide_works_as_printed(tmp_path: Path) -> None:
    """It breaks nearly what the ensemble breaks, on a model that is robust and on one that is not."""
    (tmp_path / "mine.py").write_text(IDEA, encoding="utf-8")
    attack = attack_of(f"{tmp_path / 'mine.py'}:ascent")
    board = official_board("digits", "Linf")
    setting = Setting(board, datasets.load("digits", "test", 60))
    for trial in attack_models(choose(board, ["Digits_PGD10", "Digits_Standard"]).candidates, attack, setting):
        assert trial.report is not None, trial.error
        known = EvaluationReport.model_validate_json(
            bundled_report(card(trial.model, "digits", "Linf"), "Linf").read_bytes()
        )
        both = overlap(trial.report, known.points)
        assert both is not None
        assert len(both.newly_broken) <= 1
        assert len(both.missed) <= 5 < both.standard - both.robust
        assert [check.code for check in trial.report.checks if check.outcome is CheckOutcome.FLAGGED] == []
