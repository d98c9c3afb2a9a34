"""Runs of single attacks, so that a test costs milliseconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.attacks.base import Attack, Setting
from benchmark.catalogue import CATALOGUE, attack_named
from benchmark.classifier import Classifier
from benchmark.engine import Engine, PointSet
from benchmark.ensemble import Run
from benchmark.pipeline import Evaluation, evaluate_points
from benchmark.protocols import Protocol
from benchmark.threat_models import ThreatModel

Make = Callable[[Setting], Attack[Any]]


def attack_maker(name: str, steps: int, restarts: int = 1) -> Make:
    """The attack of that name, with its steps cut down where it has any, and restarts where it knows them."""
    wanted = {"steps": steps, "queries": steps, "restarts": restarts, "samples": 4}
    options = {option: value for option, value in wanted.items() if option in CATALOGUE[name].options}
    return lambda setting: attack_named(name, setting, options)


def protocol_of(*makers: Make) -> Protocol:
    """An ensemble of these attacks."""
    return Protocol("test", 1, lambda setting: tuple(make(setting) for make in makers))


def settings(norm: str, epsilon: float, protocol: Protocol, seed: int = 0, width: int = 64) -> Run:
    """A run on the CPU."""
    return Run(ThreatModel(norm, epsilon), protocol, seed, width, torch.device("cpu"))


def attacked(model: nn.Module, x: Tensor, y: Tensor, run: Run) -> Evaluation:
    """Evaluate without the checks of the model."""
    return evaluate_points(model, x, y, range(len(x)), run)


def engine_of(attack: Attack[Any], model: nn.Module, x: Tensor, y: Tensor, *, width: int = 64, seed: int = 0) -> Engine:
    """An engine over all points, with a classifier of its own."""
    judge = Classifier(model, attack.image_shape, width)
    flat = x.flatten(1)
    point_set = PointSet(flat, y, torch.arange(len(x)), judge.logits_of_all(flat))
    return Engine(attack, Classifier(model, attack.image_shape, width), judge, point_set, seed)
