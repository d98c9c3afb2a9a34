"""The targeted Fast Adaptive Boundary attack: steps towards the closest point of the decision boundary."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark import losses
from benchmark.attacks.base import Attack, Proposal, Slots
from benchmark.classifier import Classifier
from benchmark.judging import misclassified
from benchmark.norms import Norm


@dataclass
class FabSlots(Slots):
    """State of FAB: ``x_adv`` is the point to linearise at, (n, d)."""

    x_adv: Tensor


class FabT(Attack[FabSlots]):
    """Run targeted FAB: linearise, project the iterate and the clean point on the hyperplane, step between the two.

    With one restart the attack has no randomness. A point is broken when an adversarial example lies within the
    budget, so nothing is gained by searching for a closer one.

    Args:
        norm: Linf or L2.
        epsilon: budget in pixel units, > 0.
        image_shape: (c, h, w).
        iterations: steps for each target.
        targets: classes tried.
        alpha_max: greatest pull towards the clean point's projection.
        eta: overshoot past the hyperplane.
        beta: how far a found example is moved back towards the clean point.
    Source:
        Croce & Hein 2020, arXiv:1907.02044, algorithm 1, targeted as in arXiv:2003.01690. Differs from the reference
        implementation: the projection is a batched Newton search instead of a sort.
    """

    name = "fab-t"

    def __init__(
        self,
        norm: Norm,
        epsilon: float,
        image_shape: tuple[int, int, int],
        *,
        iterations: int = 100,
        targets: int = 9,
        alpha_max: float = 0.1,
        eta: float = 1.05,
        beta: float = 0.9,
    ) -> None:
        super().__init__(norm, epsilon, image_shape)
        self._iterations = iterations
        self._targets = targets
        self._alpha_max = alpha_max
        self._eta = eta
        self._beta = beta

    @property
    def parameters(self) -> dict[str, int | float | str | bool]:
        return {
            "iterations": self._iterations,
            "restarts": 1,
            "targets": self._targets,
            "alpha_max": self._alpha_max,
            "eta": self._eta,
            "beta": self._beta,
        }

    @property
    def targets(self) -> int:
        return self._targets

    @property
    def steps(self) -> int:
        return self._iterations

    def start(self, slots: Slots) -> FabSlots:
        return FabSlots(**slots.tensors(), x_adv=slots.x.clone())

    def step(self, state: FabSlots, classifier: Classifier, live: int) -> Proposal:
        def objective(logits: Tensor) -> Tensor:
            return losses.logit_gap(logits, state.y, state.target)

        found = classifier.gradient(state.x_adv, objective, live)
        x_new = self._towards_boundary(state, found.grad, -found.value)
        adversarial = misclassified(classifier.logits(x_new, live), state.y)
        within = adversarial & (self.norm.distance(x_new - state.x) <= self.epsilon)
        moved_back = state.x + self._beta * (x_new - state.x)
        state.x_adv = torch.where(adversarial[:, None], moved_back, x_new)
        state.step = state.step + 1
        return Proposal(x_new, within, state.step == self._iterations)

    def _towards_boundary(self, state: FabSlots, weight: Tensor, gap: Tensor) -> Tensor:
        """Combine the projections of iterate and clean point; ``gap`` is what ``weight · x`` lacks at the iterate."""
        n = len(gap)
        clean_gap = gap + (weight * (state.x_adv - state.x)).sum(1)
        both = self.norm.to_hyperplane(
            torch.cat((state.x_adv, state.x)), torch.cat((weight, weight)), torch.cat((gap, clean_gap))
        )
        length = self.norm.distance(both).clamp_min(1e-8)
        alpha = (length[:n] / (length[:n] + length[n:])).clamp_max(self._alpha_max)[:, None]
        from_iterate = state.x_adv + self._eta * both[:n]
        from_clean = state.x + self._eta * both[n:]
        return ((1 - alpha) * from_iterate + alpha * from_clean).clamp(0, 1)
