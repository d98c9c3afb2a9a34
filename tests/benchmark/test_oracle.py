"""A linear classifier's exact robust accuracy: no attack may end below it, and good ones end at it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from benchmark.catalogue import attack_named
from benchmark.norms import norm_named
from tests.benchmark.models import Linear, Shape, answers
from tests.benchmark.runs import attack_maker, attacked, protocol_of, settings

N = 300
DUAL = {"Linf": 1.0, "L2": 2.0, "L1": torch.inf}
CASES = [((1, 8, 8), 2), ((3, 4, 6), 2), ((1, 8, 8), 5), ((3, 4, 6), 10)]


def _exact_distances(model: Linear, x: Tensor, y: Tensor, norm: str) -> Tensor:
    """Distance to the boundary in float64, where the box is out of the way."""
    weight, bias, flat = model.weight.detach().double(), model.bias.detach().double(), x.flatten(1).double()
    lead = (flat @ weight.T + bias).gather(1, y[:, None]) - (flat @ weight.T + bias)
    slope: Tensor = torch.linalg.vector_norm(weight[y][:, None] - weight[None], DUAL[norm], dim=2)
    ratio = (lead / slope).scatter(1, y[:, None], torch.inf)
    return ratio.amin(1)


def _case(shape: Shape, classes: int, norm: str) -> tuple[Linear, Tensor, Tensor, float, Tensor]:
    """Points around the middle, and a budget that breaks about half of them without leaving the box."""
    model = Linear(shape, classes)
    generator = torch.Generator().manual_seed(classes)
    x = 0.4 + 0.2 * torch.rand(N, *shape, generator=generator)
    y = answers(model, x)
    distances = _exact_distances(model, x, y, norm)
    epsilon = round(float(distances.median()), 4)
    assert 0 < epsilon < 0.4
    return model, x, y, epsilon, distances


@pytest.mark.parametrize("norm", DUAL)
@pytest.mark.parametrize(
    ("attack", "shape", "classes"),
    [
        *(("fab-t", *case) for case in CASES[:-1]),
        pytest.param("fab-t", *CASES[-1], marks=pytest.mark.slow),
        *(("apgd-ce", *case) for case in CASES if case[1] == 2),
        *(("apgd-t", *case) for case in CASES if case[1] >= 4),
    ],
)
def test_gradient_attacks_find_the_exact_robust_accuracy(attack: str, shape: Shape, classes: int, norm: str) -> None:
    model, x, y, epsilon, distances = _case(shape, classes, norm)
    exact = float((distances > epsilon).double().mean())
    run = settings(norm, epsilon, protocol_of(attack_maker(attack, 40)))
    evaluation = attacked(model, x, y, run)
    report = evaluation.report
    assert report.standard_accuracy == 1
    # APGD in L1 is known to stall.
    slack = 0.05 if norm == "L1" and attack != "fab-t" else 0.01
    assert exact - 1 / N < report.robust_accuracy <= exact + slack
    certified = distances > epsilon * (1 + 1e-4) + 1e-6
    assert not bool((certified & ~torch.tensor(report.points.robust)).any())
    assert report.attacks[0].over_budget == 0
    moved = norm_named(norm).distance((evaluation.x_adv - x).flatten(1).double())
    assert bool((moved <= epsilon * (1 + 1e-5) + 1e-7).all())


@pytest.mark.parametrize("norm", DUAL)
@pytest.mark.parametrize("classes", [5, 10])
def test_cross_entropy_of_many_classes_stays_above_the_exact_robust_accuracy(classes: int, norm: str) -> None:
    """Untargeted, it climbs towards all classes at once, so it need not find the closest one."""
    model, x, y, epsilon, distances = _case((1, 8, 8), classes, norm)
    exact = float((distances > epsilon).double().mean())
    report = attacked(model, x, y, settings(norm, epsilon, protocol_of(attack_maker("apgd-ce", 40)))).report
    assert exact - 1 / N < report.robust_accuracy <= exact + 0.15


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize(("shape", "classes"), [case for case in CASES if case[1] >= 3])
def test_dlr_of_many_classes_finds_the_exact_robust_accuracy(shape: Shape, classes: int, norm: str) -> None:
    """Untargeted as well, but what it climbs towards is the closest class."""
    model, x, y, epsilon, distances = _case(shape, classes, norm)
    exact = float((distances > epsilon).double().mean())
    report = attacked(model, x, y, settings(norm, epsilon, protocol_of(attack_maker("apgd-dlr", 100)))).report
    assert exact - 1 / N < report.robust_accuracy <= exact + 0.01


@pytest.mark.parametrize(("shape", "classes"), CASES)
def test_l1_ensemble_finds_the_exact_robust_accuracy(shape: Shape, classes: int) -> None:
    model, x, y, epsilon, distances = _case(shape, classes, "L1")
    exact = float((distances > epsilon).double().mean())
    names = ["apgd-ce", "apgd-t", "fab-t"] if classes >= 4 else ["apgd-ce", "fab-t"]
    run = settings("L1", epsilon, protocol_of(*(attack_maker(name, 40) for name in names)))
    assert exact - 1 / N < attacked(model, x, y, run).report.robust_accuracy <= exact + 0.01


@pytest.mark.parametrize("norm", DUAL)
@pytest.mark.parametrize(("shape", "classes"), CASES)
def test_untargeted_fab_finds_the_exact_robust_accuracy(shape: Shape, classes: int, norm: str) -> None:
    """On a linear model the nearest hyperplane is known after one step, so it needs no target."""
    model, x, y, epsilon, distances = _case(shape, classes, norm)
    exact = float((distances > epsilon).double().mean())
    report = attacked(model, x, y, settings(norm, epsilon, protocol_of(attack_maker("fab", 20)))).report
    assert exact - 1 / N < report.robust_accuracy <= exact + 0.01


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize(
    ("attack", "shape", "classes"),
    [
        *(("multi-targeted", *case) for case in CASES[:-1]),
        pytest.param("multi-targeted", *CASES[-1], marks=pytest.mark.slow),
        *((attack, *case) for attack in ("pgd", "mi-fgsm") for case in CASES if case[1] == 2),
    ],
)
def test_plain_descent_finds_nearly_the_exact_robust_accuracy(
    attack: str, shape: Shape, classes: int, norm: str
) -> None:
    model, x, y, epsilon, distances = _case(shape, classes, norm)
    exact = float((distances > epsilon).double().mean())
    report = attacked(model, x, y, settings(norm, epsilon, protocol_of(attack_maker(attack, 40)))).report
    assert exact - 1 / N < report.robust_accuracy <= exact + 0.02


@pytest.mark.parametrize("norm", DUAL)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 4, 6)])
def test_one_step_is_enough_for_two_classes(shape: Shape, norm: str) -> None:
    model, x, y, epsilon, distances = _case(shape, 2, norm)
    exact = float((distances > epsilon).double().mean())
    report = attacked(model, x, y, settings(norm, epsilon, protocol_of(attack_maker("fgsm", 1)))).report
    assert exact - 1 / N < report.robust_accuracy <= exact + 0.01


@pytest.mark.slow
@pytest.mark.parametrize("norm", DUAL)
@pytest.mark.parametrize(("shape", "classes"), [CASES[0], CASES[3]])
def test_estimated_gradients_find_nearly_the_exact_robust_accuracy(shape: Shape, classes: int, norm: str) -> None:
    """By the default effort; estimates are noisy, so some points whose distance is close to the budget hold."""
    model, x, y, epsilon, distances = _case(shape, classes, norm)
    exact = float((distances > epsilon).double().mean())
    protocol = protocol_of(lambda setting: attack_named("spsa", setting))
    report = attacked(model, x, y, settings(norm, epsilon, protocol)).report
    assert exact - 1 / N < report.robust_accuracy <= exact + 0.07


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "classes"), CASES)
def test_square_finds_nearly_the_exact_robust_accuracy(shape: Shape, classes: int) -> None:
    model, x, y, epsilon, distances = _case(shape, classes, "Linf")
    exact = float((distances > epsilon).double().mean())
    report = attacked(model, x, y, settings("Linf", epsilon, protocol_of(attack_maker("square", 5000)))).report
    assert exact - 1 / N < report.robust_accuracy <= exact + 0.02


@pytest.mark.parametrize("norm", DUAL)
def test_ensemble_is_at_least_as_strong_as_each_member(norm: str) -> None:
    model, x, y, epsilon, distances = _case((1, 8, 8), 5, norm)
    y[:20] = (y[:20] + 1) % 5
    makers = [attack_maker(name, 12) for name in ("apgd-ce", "apgd-t", "fab-t", "square")]
    alone = [attacked(model, x, y, settings(norm, epsilon, protocol_of(make))).report for make in makers]
    together = attacked(model, x, y, settings(norm, epsilon, protocol_of(*makers))).report
    assert together.standard_accuracy == pytest.approx(1 - 20 / N)
    assert together.robust_accuracy < together.standard_accuracy
    for report in alone:
        assert together.robust_accuracy <= report.robust_accuracy
    left = together.standard_accuracy
    for outcome in together.attacks:
        left -= outcome.broken / N
        assert outcome.robust_accuracy_after == pytest.approx(left)
    exact = float((distances[20:] > epsilon).double().sum()) / N
    assert together.robust_accuracy >= exact - 1 / N
