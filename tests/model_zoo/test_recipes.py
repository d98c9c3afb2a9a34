from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmark.datasets import load
from benchmark.norms import norm_named
from benchmark.threat_models import ThreatModel, official_board
from model_zoo import build, load_model
from model_zoo.recipes import TrainingProgress, train, write_checkpoint
from model_zoo.recipes.perturbations import SCHEMES, Scheme, perturb
from model_zoo.registry import Card, card, cards


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("name", SCHEMES)
def test_a_perturbation_stays_within_budget_and_box(name: str, norm: str) -> None:
    points = load("digits", "train", 40)
    budget = ThreatModel(norm, "1/5")
    model = build("digits_resnet", "digits").eval()
    x_adv = perturb(model, points.x, points.y, budget, SCHEMES[name], torch.Generator().manual_seed(0))
    distance = norm_named(norm).distance((x_adv - points.x).flatten(1))
    assert x_adv.shape == points.x.shape
    assert not x_adv.requires_grad
    assert float(x_adv.min()) >= 0
    assert float(x_adv.max()) <= 1
    assert float(distance.max()) <= budget.radius + 1e-6
    assert bool((distance > 0).all()) == (name != "standard")
    assert all(weights.grad is None for weights in model.parameters())


def test_more_steps_raise_the_loss_further() -> None:
    points = load("digits", "train", 100)
    model = load_model("Digits_Standard", dataset="digits", threat_model="Linf")
    losses = []
    for name in ("standard", "fgsm", "pgd-2", "pgd-10"):
        budget = ThreatModel("Linf", "1/10")
        x_adv = perturb(model, points.x, points.y, budget, SCHEMES[name], torch.Generator())
        losses.append(float(torch.nn.functional.cross_entropy(model(x_adv), points.y).detach()))
    assert losses == sorted(losses)


def test_fgsm_is_the_sign_of_the_gradient() -> None:
    points = load("digits", "train", 10)
    model = build("digits_cnn", "digits").eval()
    x = points.x.clone().requires_grad_()
    torch.nn.functional.cross_entropy(model(x), points.y).backward()
    assert x.grad is not None
    wanted = (points.x + 0.2 * x.grad.sign()).clamp(0, 1)
    found = perturb(model, points.x, points.y, ThreatModel("Linf", "1/5"), SCHEMES["fgsm"], torch.Generator())
    assert torch.allclose(found, wanted, atol=1e-6)


def quick(recipe: str, **changes: object) -> Card:
    entry = card("Digits_PGD10", "digits", "Linf")
    return entry.model_copy(update={"recipe": entry.recipe.model_copy(update={"name": recipe, "epochs": 2, **changes})})


def test_training_again_gives_the_same_file(tmp_path: Path) -> None:
    """Whatever the caller's random numbers and threads are; and another seed gives another file."""
    hashes = []
    for attempt in range(2):
        torch.manual_seed(attempt)
        hashes.append(write_checkpoint(train(quick("fgsm-rs")), tmp_path / f"{attempt}.safetensors"))
    assert hashes[0] == hashes[1]
    assert write_checkpoint(train(quick("fgsm-rs", seed=1)), tmp_path / "other.safetensors") != hashes[0]


def test_training_leaves_torch_as_it_was() -> None:
    before = torch.random.get_rng_state(), torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    train(quick("fgsm", epochs=1))
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before[1:]


def test_progress_is_told_after_each_epoch_and_the_loss_falls() -> None:
    told: list[TrainingProgress] = []
    train(quick("pgd-2", epochs=4), told.append)
    assert [(progress.epoch, progress.epochs) for progress in told] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert told[-1].loss < told[0].loss
    assert told[-1].accuracy > told[0].accuracy


def test_the_bundled_baseline_can_be_trained_again() -> None:
    """Predictions, not bytes: processors may round differently."""
    entry = card("Digits_Standard", "digits", "Linf")
    model = build(entry.architecture, entry.dataset)
    model.load_state_dict(train(entry))
    points = load("digits", "test")
    bundled = load_model(entry.id, dataset="digits", threat_model="Linf")
    agreeing = (model.eval()(points.x).argmax(1) == bundled(points.x).argmax(1)).float().mean()
    assert float(agreeing) >= 0.97


@pytest.mark.parametrize("threat_model", ["Linf", "L2"])
def test_the_boards_tell_a_defended_model_from_an_undefended_one(threat_model: str) -> None:
    points = load("digits", "test", 200)
    budget = official_board("digits", threat_model).budget
    attack = Scheme(steps=40, step_size=0.1, random_start=True)
    robust = {}
    for entry in cards():
        if threat_model in entry.threat_models:
            model = load_model(entry.id, dataset="digits", threat_model=threat_model)
            assert float((model(points.x).argmax(1) == points.y).float().mean()) >= 0.95
            x_adv = perturb(model, points.x, points.y, budget, attack, torch.Generator().manual_seed(0))
            robust[entry.recipe.name] = float((model(x_adv).argmax(1) == points.y).float().mean())
    assert robust.pop("standard") <= 0.05
    assert max(robust, key=robust.__getitem__) == "pgd-10"
    assert robust["pgd-10"] >= 0.5
    assert min(robust.values()) >= 0.3
