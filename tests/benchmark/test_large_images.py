"""Images and numbers of classes as ImageNet has them, through every attack: shapes, budgets and memory."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from benchmark import Evaluation, ThreatModel, evaluate
from benchmark.catalogue import CATALOGUE
from benchmark.norms import norm_named
from tests.benchmark.models import Shape, answers

CLASSES = 1000
SQUARE: Shape = (3, 224, 224)
OBLONG: Shape = (3, 160, 224)
MOST_BYTES = 600 * 2**20
"""What a run may take beside what the process had. All gradients of 1,000 classes at once would take 4.5 GiB."""
STEPS = "apgd-ce(steps=5)+apgd-t(steps=3,targets=9)+fab-t(steps=3,targets=9)+square(queries=50)"
"""The standard ensemble, cut short."""
EPSILON = {"Linf": "1/255", "L2": "1/2", "L1": "80"}
SLOW_IN_L1 = ["Linf", "L2", pytest.param("L1", marks=pytest.mark.slow)]
"""In L1 every step sorts the pixels."""


class Patches(nn.Module):
    """Patches of 16 pixels, pooled to 4 × 4, and a linear layer; the last class leads by a given margin everywhere."""

    def __init__(self, lead: float = 0.0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.patches = nn.Conv2d(3, 16, 16, stride=16)
            self.linear = nn.Linear(16 * 4 * 4, CLASSES)
            self.pool = nn.AdaptiveAvgPool2d(4)
        with torch.no_grad():
            self.linear.bias[-1] += lead

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.linear(self.pool(torch.relu(self.patches(x))).flatten(1)))


@pytest.fixture(autouse=True)
def _bounded_memory() -> Iterator[None]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < MOST_BYTES


def _attacked(norm: str, protocol: str, shape: Shape, *, lead: float = 0.0) -> Evaluation:
    """Evaluate two points and check all that must hold of examples."""
    model = Patches(lead).eval()
    x = torch.rand(2, *shape, generator=torch.Generator().manual_seed(1))
    y = answers(model, x)
    threat_model = ThreatModel(norm, EPSILON[norm])
    evaluation = evaluate(model, x, y, threat_model, protocol=protocol, batch_size=8)
    assert evaluation.x_adv.shape == x.shape
    assert float(evaluation.x_adv.min()) >= 0
    assert float(evaluation.x_adv.max()) <= 1
    distance = norm_named(norm).distance((evaluation.x_adv.double() - x.double()).flatten(1))
    assert bool((distance <= threat_model.radius * (1 + 1e-5) + 1e-7).all())
    assert (answers(model, evaluation.x_adv) == y).tolist() == list(evaluation.report.points.robust)
    assert sum(attack.over_budget for attack in evaluation.report.attacks) == 0
    return evaluation


def _cut(attack: str) -> str:
    options = CATALOGUE[attack].options
    wanted = {"steps": 2, "queries": 20, "samples": 4}
    cut = [f"{option}={value}" for option, value in wanted.items() if option in options]
    return f"{attack}({','.join(cut)})" if cut else attack


@pytest.mark.parametrize("shape", [SQUARE, OBLONG], ids=["square", "oblong"])
@pytest.mark.parametrize("norm", EPSILON)
@pytest.mark.parametrize("attack", [name for name in CATALOGUE if name != "fab"])
def test_every_attack_takes_large_images_and_many_classes(attack: str, norm: str, shape: Shape) -> None:
    (outcome,) = _attacked(norm, _cut(attack), shape).report.attacks
    assert (outcome.name, outcome.attacked) == (attack, 2)
    assert outcome.broken > 0 or attack in {"fgsm", "mi-fgsm", "pgd", "spsa", "square"}
    assert outcome.forward_passes > 0


@pytest.mark.slow
@pytest.mark.parametrize("norm", EPSILON)
def test_untargeted_fab_takes_a_thousand_classes_one_after_another(norm: str) -> None:
    (outcome,) = _attacked(norm, "fab(steps=1)", OBLONG).report.attacks
    assert outcome.broken > 0
    assert (outcome.forward_passes, outcome.backward_passes) == (2 * 2, 2 * 999)


@pytest.mark.parametrize("shape", [SQUARE, OBLONG], ids=["square", "oblong"])
@pytest.mark.parametrize("norm", SLOW_IN_L1)
def test_standard_ensemble_runs_to_its_end_where_nothing_breaks(norm: str, shape: Shape) -> None:
    report = _attacked(norm, STEPS, shape, lead=30.0).report
    assert report.robust_accuracy == report.standard_accuracy == 1
    steps = {"Linf": (6, 4), "L2": (6, 4), "L1": (8, 6)}[norm]  # in L1 each of three radii has a first iterate
    ce, targeted = steps
    assert [(attack.name, attack.attacked, attack.forward_passes) for attack in report.attacks] == [
        ("apgd-ce", 2, 2 * ce),
        ("apgd-t", 2, 2 * 9 * targeted),
        ("fab-t", 2, 2 * 9 * 3 * 2),
        ("square", 2, 2 * 50),
    ]


@pytest.mark.parametrize("norm", SLOW_IN_L1)
def test_standard_protocol_itself_ends_as_soon_as_all_points_are_broken(norm: str) -> None:
    report = _attacked(norm, "standard", SQUARE).report
    assert report.protocol == "standard-1"
    assert report.robust_accuracy == 0
    assert [attack.name for attack in report.attacks] == ["apgd-ce", "apgd-t", "fab-t", "square"]
