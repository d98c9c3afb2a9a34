"""A small network and short recipes, to train on a few images."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from model_zoo.recipe import Recipe

_OWN: Mapping[str, Mapping[str, object]] = {
    "grad-align": {"penalty": 0.2},
    "trades": {"penalty": 6.0, "steps": 2},
}
"""What a recipe needs beside the name."""


def recipe(name: str, **changes: object) -> Recipe:
    """Return a recipe of two epochs, in Linf."""
    content: dict[str, object] = {
        "name": name, "norm": "Linf", "epsilon": "1/10", "epochs": 2, "batch_size": 32, "learning_rate": 0.1,
        "weight_decay": 5e-4, "seed": 0,
    }  # fmt: skip
    return Recipe.model_validate({**content, **_OWN.get(name, {}), **changes})


def network() -> nn.Module:
    """Return a network with batch normalisation for images of 1×8×8, always the same."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 6 * 6, 10))


def bits(state: Mapping[str, Tensor]) -> dict[str, bytes]:
    """Return each tensor's bytes."""
    return {name: tensor.detach().contiguous().numpy().tobytes() for name, tensor in state.items()}


def until(batches: int) -> Callable[[float], bool]:
    """Return what says to go on until some batches are done."""
    left = batches

    def proceed(_done: float) -> bool:
        nonlocal left
        left -= 1
        return left > 0

    return proceed
