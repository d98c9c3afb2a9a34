"""Runs of single attacks, so that a test costs milliseconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.attacks.apgd import Apgd
from benchmark.attacks.base import Attack
from benchmark.attacks.fab import FabT
from benchmark.attacks.square import SquareL2, SquareLinf
from benchmark.classifier import Classifier
from benchmark.engine import Engine, PointSet
from benchmark.ensemble import Run
from benchmark.pipeline import Evaluation, evaluate_points
from benchmark.protocols import Protocol, Setting
from benchmark.threat_models import ThreatModel

Make = Callable[[Setting], Attack[Any]]


def _square(setting: Setting, queries: int) -> Attack[Any]:
    kind = SquareLinf if setting.norm.name == "Linf" else SquareL2
    return kind(setting.norm, setting.epsilon, setting.image_shape, queries=queries)


def attack_maker(name: str, steps: int) -> Make:
    """The attack of that name, with its steps cut down."""
    makers: dict[str, Make] = {
        "apgd-ce": lambda s: Apgd(s.norm, s.epsilon, s.image_shape, loss="ce", iterations=steps),
        "apgd-dlr": lambda s: Apgd(s.norm, s.epsilon, s.image_shape, loss="dlr", iterations=steps),
        "apgd-t": lambda s: Apgd(
            s.norm, s.epsilon, s.image_shape, loss="targeted-dlr", iterations=steps, targets=min(9, s.classes - 1)
        ),
        "fab-t": lambda s: FabT(s.norm, s.epsilon, s.image_shape, iterations=steps, targets=min(9, s.classes - 1)),
        "square": lambda s: _square(s, steps),
    }
    return makers[name]


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
