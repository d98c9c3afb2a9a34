"""Projected gradient descent and its relatives: the plain attacks that others are measured against."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark import losses, randomness
from benchmark.attacks.base import Attack, Proposal, Slots
from benchmark.classifier import Classifier
from benchmark.judging import misclassified
from benchmark.norms import Norm


@dataclass
class PgdSlots(Slots):
    """State of PGD: ``x_adv`` is the iterate to evaluate next, (n, d)."""

    x_adv: Tensor


class _Descent(Attack[PgdSlots]):
    """What the attacks of this file share: a random start and steps of one size along the steepest direction."""

    def __init__(
        self,
        norm: Norm,
        epsilon: float,
        image_shape: tuple[int, int, int],
        *,
        iterations: int,
        step_size: float | None,
        restarts: int,
    ) -> None:
        super().__init__(norm, epsilon, image_shape)
        self._iterations = iterations
        # Madry et al. 2018, appendix: 2.5 times what the steps need to cross the ball once.
        self._step_size = 2.5 * epsilon / iterations if step_size is None else step_size
        self._restarts = restarts

    @property
    def parameters(self) -> dict[str, int | float | str | bool]:
        return {
            "iterations": self._iterations,
            "step_size": self._step_size,
            "restarts": self._restarts,
            "targets": self.targets,
        }

    @property
    def restarts(self) -> int:
        return self._restarts

    @property
    def steps(self) -> int:
        return self._iterations + 1

    @abstractmethod
    def _objective(self, state: PgdSlots, logits: Tensor) -> Tensor:
        """Return what the attack climbs, (n,)."""

    def start(self, slots: Slots) -> PgdSlots:
        draw = self.norm.random_direction(randomness.at_step(slots.key, slots.step), slots.x.shape[1])
        x_adv = self.norm.confine(slots.x, slots.x + self.epsilon * draw, self.epsilon)
        return PgdSlots(**slots.tensors(), x_adv=x_adv)

    def step(self, state: PgdSlots, classifier: Classifier, live: int) -> Proposal:
        evaluated = state.x_adv
        found = classifier.gradient(evaluated, lambda logits: self._objective(state, logits), live)
        ahead = self.norm.climb(evaluated, found.grad, self._step_size)
        state.x_adv = self.norm.confine(state.x, ahead, self.epsilon)
        state.step = state.step + 1
        return Proposal(evaluated, misclassified(found.logits, state.y), state.step == self.steps)


class Pgd(_Descent):
    """Run projected gradient descent on the cross-entropy from random starts on the surface of the ball.

    In L1 a step changes as few pixels as the box allows, which makes this attack weak there: prefer APGD.

    Args:
        norm: geometry of the threat model.
        epsilon: budget in pixel units, > 0.
        image_shape: (c, h, w).
        iterations: steps after the start.
        step_size: length of each step, in pixel units; by default 2.5 × epsilon / iterations.
        restarts: independent random starts.
    Source:
        Madry et al. 2018, arXiv:1706.06083, section 2.1. Differs: starts lie on the surface instead of anywhere inside.
    """

    name = "pgd"

    def __init__(
        self,
        norm: Norm,
        epsilon: float,
        image_shape: tuple[int, int, int],
        *,
        iterations: int = 40,
        step_size: float | None = None,
        restarts: int = 1,
    ) -> None:
        super().__init__(norm, epsilon, image_shape, iterations=iterations, step_size=step_size, restarts=restarts)

    def _objective(self, state: PgdSlots, logits: Tensor) -> Tensor:
        return losses.cross_entropy(logits, state.y)


class MultiTargeted(_Descent):
    """Run projected gradient descent on the margin of one target class after another.

    Args:
        norm: geometry of the threat model.
        epsilon: budget in pixel units, > 0.
        image_shape: (c, h, w).
        targets: classes tried, likeliest first.
        iterations: steps after the start, for each target.
        step_size: length of each step, in pixel units; by default 2.5 × epsilon / iterations.
        restarts: independent random starts for each target.
    Source:
        Gowal et al. 2019, arXiv:1910.09338, section 3.2. Differs: steps of one size instead of a schedule.
    """

    name = "multi-targeted"

    def __init__(
        self,
        norm: Norm,
        epsilon: float,
        image_shape: tuple[int, int, int],
        *,
        targets: int,
        iterations: int = 40,
        step_size: float | None = None,
        restarts: int = 1,
    ) -> None:
        super().__init__(norm, epsilon, image_shape, iterations=iterations, step_size=step_size, restarts=restarts)
        self._targets = targets

    @property
    def targets(self) -> int:
        return self._targets

    def _objective(self, state: PgdSlots, logits: Tensor) -> Tensor:
        return losses.logit_gap(logits, state.y, state.target)


class Fgsm(Attack[Slots]):
    """Run the fast gradient method: one step as long as the budget, from the clean point.

    Args:
        norm: geometry of the threat model; in Linf this is the fast gradient *sign* method.
        epsilon: budget in pixel units, > 0.
        image_shape: (c, h, w).
    Source:
        Goodfellow et al. 2015, arXiv:1412.6572, section 4.
    """

    name = "fgsm"

    @property
    def parameters(self) -> dict[str, int | float | str | bool]:
        return {"loss": "ce"}

    @property
    def steps(self) -> int:
        return 1

    def start(self, slots: Slots) -> Slots:
        return slots

    def step(self, state: Slots, classifier: Classifier, live: int) -> Proposal:
        found = classifier.gradient(state.x, lambda logits: losses.cross_entropy(logits, state.y), live)
        x_adv = self.norm.confine(state.x, self.norm.climb(state.x, found.grad, self.epsilon), self.epsilon)
        state.step = state.step + 1
        logits = classifier.logits(x_adv, live)
        return Proposal(x_adv, misclassified(logits, state.y), torch.ones_like(state.step, dtype=torch.bool))
