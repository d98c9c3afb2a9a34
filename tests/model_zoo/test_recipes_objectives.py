"""What each recipe descends on, against closed forms and independent implementations."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.datasets import load
from benchmark.errors import InvalidInput
from benchmark.norms import norm_named
from benchmark.threat_models import ThreatModel
from model_zoo import build
from model_zoo.recipe import Recipe
from model_zoo.recipes.augmentation import shifted
from model_zoo.recipes.objectives import Free, GradAlign, Objective, Trades, alignment, objective_of
from model_zoo.recipes.perturbations import SCHEMES, Scheme, scheme_of

LINF = ThreatModel("Linf", "1/10")


def recipe(name: str, **changes: object) -> Recipe:
    budget = {} if name == "standard" else {"norm": "Linf", "epsilon": "1/10"}
    wanted = {"penalty": 0.2} if name == "grad-align" else {"penalty": 6.0, "steps": 10} if name == "trades" else {}
    shared = {"epochs": 2, "batch_size": 8, "learning_rate": 0.1, "weight_decay": 0.0, "seed": 0}
    return Recipe.model_validate({"name": name, **budget, **wanted, **shared, **changes})


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def linear() -> nn.Sequential:
    """Two classes of images of 2×2 pixels: the margin is w·x, whose steepest ascent is known."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    weight = torch.tensor([[0.0, 0.0, 0.0, 0.0], [3.0, -2.0, 0.5, 1.0]])
    weights_of(model).copy_(weight)
    return model


def weights_of(model: nn.Module) -> Tensor:
    """The weights of a network's last layer, to be changed."""
    *_, last = model.parameters()
    return last.data


def inner_points(n: int = 6) -> tuple[Tensor, Tensor]:
    """Images so far inside the box that it is never in the way."""
    x = 0.3 + 0.4 * torch.rand(n, 1, 2, 2, generator=seeded(5))
    return x, torch.arange(n) % 2


@pytest.mark.parametrize(
    ("name", "scheme"),
    [
        ("fgsm", Scheme(1, 1.0)),
        ("fgsm-rs", Scheme(1, 1.25, random_start=True)),
        ("pgd-2", Scheme(2, 0.5)),
        ("pgd-5", Scheme(5, 0.4)),
        ("pgd-10", Scheme(10, 0.2)),
        ("pgd-100", Scheme(100, 0.02)),
        ("grad-align", Scheme(1, 1.0)),
        ("trades", Scheme(10, 0.2)),
        ("free-8", Scheme(1, 1.0)),
    ],
)
def test_a_name_tells_steps_and_their_size(name: str, scheme: Scheme) -> None:
    assert scheme_of(recipe(name)) == scheme
    assert scheme_of(recipe(name, step_size=0.7)).step_size == 0.7


@pytest.mark.parametrize(
    "name", ["pgd-1", "pgd-0", "pgd-", "pgd-1000", "free-1", "free", "fgsm_rs", "FGSM", "mart", ""]
)
def test_other_names_are_none(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        recipe(name, norm="Linf", epsilon="1/10")


@pytest.mark.parametrize(
    ("name", "changes", "field"),
    [
        ("standard", {"norm": "Linf"}, "norm"),
        ("standard", {"epsilon": "1/10"}, "epsilon"),
        ("standard", {"step_size": 1.0}, "step_size"),
        ("fgsm", {"epsilon": None}, "epsilon"),
        ("fgsm", {"norm": None}, "norm"),
        ("fgsm", {"penalty": 0.2}, "penalty"),
        ("pgd-10", {"steps": 10}, "steps"),
        ("grad-align", {"penalty": None}, "penalty"),
        ("trades", {"steps": None}, "steps"),
        ("fgsm", {"early_stopping": True}, "validation"),
        ("fgsm", {"stop_on_overfitting": True}, "validation"),
        ("fgsm", {"patience": 3}, "patience"),
    ],
)
def test_what_contradicts_itself_is_refused_by_name(name: str, changes: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        recipe(name, **changes)
    assert caught.value.detail is not None
    assert caught.value.detail.field == field


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("name", ["fgsm", "pgd-2", "pgd-10"])
def test_on_a_linear_model_the_loss_is_that_of_the_worst_perturbation(name: str, norm: str) -> None:
    """Softplus of the margin's wrong side, the margin worsened by epsilon times the weights' dual norm."""
    model, (x, y) = linear(), inner_points()
    weight = weights_of(model)[1]
    margin = (x.flatten(1) @ weight) * (1 - 2 * y)
    wanted = F.softplus(margin + 0.1 * norm_named(norm).dual(weight[None])).mean()
    found = objective_of(recipe(name, norm=norm), seeded()).loss(model, x, y)
    assert float(found.value.detach()) == pytest.approx(float(wanted), rel=1e-5)
    assert model.training


def test_standard_training_sees_the_images_as_they_are() -> None:
    model, (x, y) = linear(), inner_points()
    found = objective_of(recipe("standard"), seeded()).loss(model, x, y)
    assert torch.equal(found.logits, model(x))
    assert torch.equal(found.value, F.cross_entropy(model(x), y))


class Curved(nn.Module):
    """A smooth network in float64, for finite differences."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(4, 5).double()
        self.two = nn.Linear(5, 3).double()
        for number, weights in enumerate(self.parameters()):
            weights.data.copy_(torch.randn(weights.shape, generator=seeded(number), dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.two(torch.tanh(self.one(x.flatten(1))))
        return logits


def smooth_points() -> tuple[Tensor, Tensor]:
    x = 0.3 + 0.4 * torch.rand(5, 1, 2, 2, generator=seeded(7), dtype=torch.float64)
    return x, torch.tensor([0, 1, 2, 0, 1])


def test_the_alignment_is_the_cosine_of_gradients_that_are_computed_one_by_one() -> None:
    model, (x, y) = Curved(), smooth_points()
    noise = 0.1 * (2 * torch.rand(x.shape, generator=seeded(3), dtype=torch.float64) - 1)
    wanted = []
    for image, label, shift in zip(x, y, noise, strict=True):
        pair = []
        for at in (image, image + shift):
            # By central differences, so that no gradient of torch's is trusted.
            slope = torch.zeros(4, dtype=torch.float64)
            for pixel in range(4):
                step = torch.zeros(4, dtype=torch.float64)
                step[pixel] = 1e-5
                up, down = (F.cross_entropy(model((at + s * step.view(1, 2, 2))[None]), label[None]) for s in (1, -1))
                slope[pixel] = (up - down).detach() / 2e-5
            pair.append(slope)
        wanted.append(float(pair[0] @ pair[1] / (pair[0].norm() * pair[1].norm())))
    found = alignment(model, x, y, LINF, seeded(3))
    assert found.tolist() == pytest.approx(wanted, abs=1e-7)
    assert min(wanted) < 0.999


def test_the_penalty_is_differentiated_as_finite_differences_say() -> None:
    """Double backpropagation through both gradients, parameter by parameter."""
    model, (x, y) = Curved(), smooth_points()

    def penalty() -> Tensor:
        return (1 - alignment(model, x, y, LINF, seeded(3), differentiable=True)).mean()

    parameters = list(model.parameters())
    exact = torch.autograd.grad(penalty(), parameters, allow_unused=True)
    for weights, slope in zip(parameters, exact, strict=True):
        flat = weights.data.view(-1)
        for place in range(len(flat)):
            before = float(flat[place])
            values = []
            for step in (1e-5, -1e-5):
                flat[place] = before + step
                values.append(float(penalty().detach()))
            flat[place] = before
            wanted = (values[0] - values[1]) / 2e-5
            assert (float(slope.view(-1)[place]) if slope is not None else 0.0) == pytest.approx(wanted, abs=1e-6)


def test_grad_align_is_fgsm_with_the_weighted_penalty() -> None:
    model, (x, y) = Curved(), smooth_points()
    fgsm = objective_of(recipe("fgsm"), seeded(3)).loss(model, x, y).value
    turned = (1 - alignment(model, x, y, LINF, seeded(3))).mean()
    found = objective_of(recipe("grad-align", penalty=0.7), seeded(3)).loss(model, x, y).value
    assert float(found.detach()) == pytest.approx(float((fgsm + 0.7 * turned).detach()), rel=1e-12)


def test_on_a_linear_model_of_two_classes_there_is_nothing_to_align() -> None:
    model, (x, y) = linear(), inner_points()
    fgsm = objective_of(recipe("fgsm"), seeded()).loss(model, x, y).value
    found = objective_of(recipe("grad-align", penalty=100.0), seeded()).loss(model, x, y).value
    assert float(found.detach()) == pytest.approx(float(fgsm.detach()), abs=1e-4)


def test_grad_align_leaves_the_running_statistics_that_fgsm_leaves() -> None:
    points = load("digits", "train", 32)
    left = []
    for name in ("fgsm", "grad-align"):
        model = build("digits_resnet", "digits", 1)
        objective_of(recipe(name), seeded()).loss(model, points.x, points.y)
        left.append(dict(model.named_buffers()))
    assert left[0].keys() == left[1].keys() != set()
    assert all(torch.equal(left[0][name], left[1][name]) for name in left[0])


@pytest.mark.parametrize("scale", [1.0, 50.0, 3000.0])
def test_however_sure_the_network_is_the_penalty_can_be_differentiated(scale: float) -> None:
    points = load("digits", "train", 64)
    model = build("digits_cnn", "digits")
    dict(model.named_parameters())["head.weight"].data.mul_(scale)
    y = model(points.x).argmax(1)
    found = GradAlign(seeded(), LINF, SCHEMES["fgsm"], 1.0).loss(model, points.x, y)
    torch.autograd.backward(found.value)
    assert bool(torch.isfinite(found.value))
    assert all(bool(torch.isfinite(weights.grad).all()) for weights in model.parameters() if weights.grad is not None)


def plain_trades(model: nn.Module, x: Tensor, y: Tensor, norm: str, beta: float) -> Tensor:
    """Algorithm 1 of the paper, image by image, with the divergence as a sum of logarithms."""

    def divergence(x_adv: Tensor, image: Tensor) -> Tensor:
        p, q = model(image[None]).softmax(1), model(x_adv[None]).softmax(1)
        total: Tensor = (p * (p / q).log()).sum()
        return total

    starts = 0.001 * torch.randn(x.shape, generator=seeded(3), dtype=x.dtype)
    losses = []
    for image, label, start in zip(x, y, starts, strict=True):
        delta = start.clone()
        for _ in range(10):
            delta.requires_grad_()
            (grad,) = torch.autograd.grad(divergence(image + delta, image), delta)
            unit = grad.sign() if norm == "Linf" else grad / grad.norm()
            delta = delta.detach() + 0.02 * unit
            delta = delta.clamp(-0.1, 0.1) if norm == "Linf" else delta * min(1.0, 0.1 / float(delta.norm()))
            delta = (image + delta).clamp(0, 1) - image
        losses.append(F.cross_entropy(model(image[None]), label[None]) + beta * divergence(image + delta, image))
    return torch.stack(losses).mean()


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("beta", [0.0, 6.0])
def test_trades_is_the_papers_algorithm(norm: str, beta: float) -> None:
    model, (x, y) = Curved(), smooth_points()
    found = objective_of(recipe("trades", norm=norm, penalty=beta), seeded(3)).loss(model, x, y)
    wanted = plain_trades(model, x, y, norm, beta)
    assert float(found.value.detach()) == pytest.approx(float(wanted.detach()), rel=1e-9)
    assert torch.equal(found.logits, model(x))
    parameters = list(model.parameters())
    slopes, expected = torch.autograd.grad(found.value, parameters), torch.autograd.grad(wanted, parameters)
    assert all(torch.allclose(one, other, rtol=1e-7) for one, other in zip(slopes, expected, strict=True))


class Counted(nn.Module):
    """Counts the passes through a network."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.forwards = self.backwards = 0

    def forward(self, x: Tensor) -> Tensor:
        self.forwards += 1
        logits: Tensor = self.inner(x)
        if logits.requires_grad:
            logits.register_hook(self._count)
        return logits

    def _count(self, _grad: Tensor) -> None:
        self.backwards += 1


@pytest.mark.parametrize(
    ("make", "forwards", "backwards"),
    [
        (lambda: objective_of(recipe("standard"), seeded()), 1, 1),
        (lambda: objective_of(recipe("fgsm"), seeded()), 2, 2),
        (lambda: objective_of(recipe("pgd-10"), seeded()), 11, 11),
        (lambda: objective_of(recipe("free-8"), seeded()), 1, 1),
        (lambda: objective_of(recipe("trades"), seeded()), 13, 12),
    ],
    ids=["standard", "fgsm", "pgd-10", "free-8", "trades"],
)
def test_an_update_costs_so_many_passes(make: Callable[[], Objective], forwards: int, backwards: int) -> None:
    model, (x, y) = Counted(linear()), inner_points()
    torch.autograd.backward(make().loss(model, x, y).value)
    # TRADES asks once more for the clean answer, and goes back through both of its last two.
    assert (model.forwards, model.backwards) == (forwards, backwards)


def test_free_carries_its_perturbation_from_batch_to_batch() -> None:
    """On a linear model each backward pass moves it by epsilon towards the corner, whichever images are shown."""
    model, (x, y) = linear(), inner_points()
    objective = Free(seeded(), LINF, 8, 0.75)
    corner = 0.1 * weights_of(model)[1].sign() * (1 - 2 * y)[:, None]
    assert objective.replays == 8
    for images, rows, wanted in ((x, 6, 0.75 * corner), (x + 0.01, 6, corner), (x[:4], 4, corner)):
        found = objective.loss(model, images, y[:rows])
        before = objective.carried["delta"].clone()
        shown = model(images + before[:rows])
        assert torch.allclose(found.logits, shown, atol=1e-6)
        torch.autograd.backward(found.value)
        assert torch.allclose(objective.carried["delta"].flatten(1), wanted, atol=1e-6)


def test_shifted_images_are_parts_of_the_padded_ones_or_of_their_mirror_images() -> None:
    x = torch.rand(40, 2, 6, 6, generator=seeded(1))
    found = shifted(x, 2, True, seeded(2))
    mirrored = 0
    for image, moved in zip(x, found, strict=True):
        places = []
        for flip, source in ((0, F.pad(image, [2] * 4)), (1, F.pad(image, [2] * 4).flip(2))):
            windows = source.unfold(1, 6, 1).unfold(2, 6, 1).permute(1, 2, 0, 3, 4).reshape(-1, 2, 6, 6)
            places += [flip] * int((windows == moved).flatten(1).all(1).any())
        assert len(places) == 1
        mirrored += places[0]
    assert 8 < mirrored < 32
    assert torch.equal(found, shifted(x, 2, True, seeded(2)))


def test_trades_begins_beside_the_image() -> None:
    """At the image itself the divergence has no slope, so that nothing would ever move."""
    model, (x, y) = Curved(), smooth_points()
    without_steps = Trades(seeded(3), LINF, Scheme(0, 0.0), 1.0).loss(model, x, y)
    with_steps = Trades(seeded(3), LINF, Scheme(10, 0.2), 1.0).loss(model, x, y)
    clean = F.cross_entropy(model(x), y)
    assert 0 < float((without_steps.value - clean).detach()) < 1e-4 < float((with_steps.value - clean).detach())
