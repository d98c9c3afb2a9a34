"""Measure which budgets tell a defended network from an undefended one on the digits boards.

Run from the repository's root, about a quarter of an hour on one thread: python -m bench.digits_epsilon
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from benchmark.datasets import load
from benchmark.threat_models import ThreatModel
from model_zoo import build
from model_zoo.recipes import train
from model_zoo.recipes.perturbations import Scheme, perturb
from model_zoo.registry import card

BUDGETS = {"Linf": ("1/10", "3/20", "1/5", "1/4"), "L2": ("3/5", "4/5", "1", "6/5")}
# PGD with 100 steps, once with small and once with large steps; a point must survive both.
ATTACKS = (Scheme(steps=100, step_size=0.025, random_start=True), Scheme(steps=100, step_size=0.1, random_start=True))


def main() -> None:
    torch.set_num_threads(1)
    undefended = {name: trained("standard", name, None) for name in ("digits_cnn", "digits_resnet")}
    columns = [f"standard, {name}" for name in undefended] + [f"PGD-10, {name}" for name in undefended]
    print("| norm | epsilon |", " | ".join(columns), "|", flush=True)
    print("|---" * (2 + len(columns)) + "|", flush=True)
    for budget in budgets():
        defended = [trained("pgd-10", name, budget) for name in undefended]
        cells = [scores(model, budget) for model in (*undefended.values(), *defended)]
        print(f"| {budget.norm} | {budget.epsilon} |", " | ".join(cells), "|", flush=True)


def budgets() -> Iterator[ThreatModel]:
    for norm, sizes in BUDGETS.items():
        for epsilon in sizes:
            yield ThreatModel(norm, epsilon)


def trained(recipe: str, architecture: str, budget: ThreatModel | None) -> nn.Module:
    example = card("Digits_PGD10", "digits", "Linf")
    changes = {
        "name": recipe,
        "norm": budget.norm if budget else None,
        "epsilon": str(budget.epsilon) if budget else None,
    }
    entry = example.model_copy(
        update={"architecture": architecture, "recipe": example.recipe.model_copy(update=changes)}
    )
    model = build(architecture, "digits")
    model.load_state_dict(train(entry))
    return model.eval()


def scores(model: nn.Module, budget: ThreatModel) -> str:
    points = load("digits", "test")
    generator = torch.Generator().manual_seed(0)
    correct = model(points.x).argmax(1) == points.y
    robust = correct.clone()
    for attack in ATTACKS:
        x_adv = perturb(model, points.x, points.y, budget, attack, generator)
        robust &= model(x_adv).argmax(1) == points.y
    return f"{correct.float().mean():.1%} / {robust.float().mean():.1%}"


if __name__ == "__main__":
    main()
