from __future__ import annotations

import re
from typing import Any

import torch
from torch import nn

from benchmark.classifier import Classifier
from benchmark.engine import Engine, PointSet
from benchmark.norms import norm_named
from tests.house.layout import ROOT

GUIDE = (ROOT / "docs/adding-an-attack.md").read_text(encoding="utf-8")
SHAPE = (1, 3, 5)


def test_the_attack_in_the_guide_works_as_printed() -> None:
    """On a classifier that compares one pixel with 0.5, noise breaks exactly the points within reach of it."""
    (source,) = re.findall(r"```python\n(.*?)```", GUIDE, flags=re.DOTALL)
    namespace: dict[str, Any] = {}
    exec(compile(source, "docs/adding-an-attack.md", "exec"), namespace)  # noqa: S102

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
