"""What an attack is: two functions over a batch of slots.

``start`` fills slots with work items and ``step`` moves every slot on by one step. All state has the slot as first
dimension, the step counter included, so that neighbouring slots may stand at different steps. The engine does all the
rest: queueing, judging, stopping, counting.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

import torch
from torch import Tensor, nn

from benchmark.classifier import Classifier
from benchmark.norms import Norm


@dataclass(frozen=True)
class Source:
    """Another model, from which examples are to carry over.

    Args:
        name: what reports call it.
        model: from images (n, c, h, w) in [0, 1] to logits; of the same classes as the model under attack.
    """

    name: str
    model: nn.Module


@dataclass(frozen=True)
class Setting:
    """What the choice of an ensemble's attacks may depend on.

    Args:
        norm: geometry of the threat model.
        epsilon: budget in pixel units.
        image_shape: (c, h, w).
        classes: number of logits.
        sources: other models, frozen and on the run's device, for attacks that take their gradients.
    """

    norm: Norm
    epsilon: float
    image_shape: tuple[int, int, int]
    classes: int
    sources: tuple[Source, ...] = ()


@dataclass
class Slots:
    """State of a batch of work items; attacks add their own fields, all with the slot first.

    Args:
        x: clean points, flat, (n, d).
        y: labels, (n,).
        target: target classes, (n,); meaningless for an untargeted attack.
        key: random keys of the items, (n,).
        restart: numbers of the items' restarts, from 0, (n,), int64.
        step: steps done, (n,), int64.
    """

    x: Tensor
    y: Tensor
    target: Tensor
    key: Tensor
    restart: Tensor
    step: Tensor

    def take(self, rows: Tensor) -> Self:
        """Return the given slots, in that order."""
        return type(self)(**{name: value[rows] for name, value in self.tensors().items()})

    def put(self, rows: Tensor, other: Self) -> None:
        """Overwrite the given slots with the other's."""
        for name, value in self.tensors().items():
            value[rows] = getattr(other, name)

    def tensors(self) -> dict[str, Tensor]:
        """Return the fields by name."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


@dataclass(frozen=True)
class Proposal:
    """What a step found out about the examples it evaluated.

    Args:
        x_adv: the examples, (n, d).
        broken: the attack takes them for adversarial examples within the budget, (n,); the judge decides.
        done: the item has no step left, (n,).
    """

    x_adv: Tensor
    broken: Tensor
    done: Tensor


S = TypeVar("S", bound=Slots)


class Attack(ABC, Generic[S]):
    """An attack within a norm and a budget.

    Args:
        norm: geometry of the threat model.
        epsilon: budget in pixel units, > 0.
        image_shape: (c, h, w).
    """

    name: str

    def __init__(self, norm: Norm, epsilon: float, image_shape: tuple[int, int, int]) -> None:
        self.norm = norm
        self.epsilon = epsilon
        self.image_shape = image_shape

    @property
    @abstractmethod
    def parameters(self) -> dict[str, int | float | str | bool]:
        """Everything that defines the attack beside the threat model, for the report."""

    @property
    def restarts(self) -> int:
        """Independent runs on each point and target."""
        return 1

    @property
    def targets(self) -> int:
        """Target classes tried on each point; 0 for an untargeted attack."""
        return 0

    @property
    @abstractmethod
    def steps(self) -> int:
        """Steps of an item that breaks nothing."""

    @abstractmethod
    def start(self, slots: Slots) -> S:
        """Return the state in which the items begin; no pass is made."""

    @abstractmethod
    def step(self, state: S, classifier: Classifier, live: int) -> Proposal:
        """Move every slot on by one step, in place, and return what was evaluated.

        Args:
            state: the slots.
            classifier: the model.
            live: number of slots whose passes count.
        """


def rank_targets(logits: Tensor, y: Tensor, count: int) -> Tensor:
    """Return the ``count`` most likely wrong classes of each point, likeliest first, (n, count)."""
    others = logits.scatter(1, y[:, None], -torch.inf)
    return others.argsort(dim=1, descending=True, stable=True)[:, :count]
