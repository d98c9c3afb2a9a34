"""The Fast Adaptive Boundary attack, targeted or not: steps towards the closest point of the decision boundary."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark import losses, randomness
from benchmark.attacks.base import Attack, Proposal, Slots
from benchmark.classifier import Classifier
from benchmark.judging import misclassified
from benchmark.norms import Norm

_TINY = 1e-12


@dataclass
class FabSlots(Slots):
    """State of FAB: ``x_adv`` is the point to linearise at, (n, d)."""

    x_adv: Tensor


class Fab(Attack[FabSlots]):
    """Run FAB: linearise, project the iterate and the clean point on the nearest hyperplane, step between the two.

    A point is broken when an adversarial example lies within the budget, so nothing is gained by searching for a closer
    one. The first restart begins at the clean point and has no randomness.

    Args:
        norm: geometry of the threat model.
        epsilon: budget in pixel units, > 0.
        image_shape: (c, h, w).
        iterations: steps of each restart.
        restarts: runs on each point; all but the first begin at a random perturbation of length epsilon / 2.
        alpha_max: greatest pull towards the clean point's projection.
        eta: overshoot past the hyperplane.
        beta: how far a found example is moved back towards the clean point.
    Source:
        Croce & Hein 2020, arXiv:1907.02044, algorithm 1. Differs from the reference implementation: the projections in
        Linf and L2 are a batched Newton search instead of a sort, and the label's own gradient is not computed apart.
        A restart there begins within half of the best distance or half of epsilon, whichever is less; as broken points
        are done, that is always half of epsilon.
    """

    name = "fab"

    def __init__(
        self,
        norm: Norm,
        epsilon: float,
        image_shape: tuple[int, int, int],
        *,
        iterations: int = 100,
        restarts: int = 1,
        alpha_max: float = 0.1,
        eta: float = 1.05,
        beta: float = 0.9,
    ) -> None:
        super().__init__(norm, epsilon, image_shape)
        self._iterations = iterations
        self._restarts = restarts
        self._alpha_max = alpha_max
        self._eta = eta
        self._beta = beta

    @property
    def parameters(self) -> dict[str, int | float | str | bool]:
        return {
            "iterations": self._iterations,
            "restarts": self._restarts,
            "targets": self.targets,
            "alpha_max": self._alpha_max,
            "eta": self._eta,
            "beta": self._beta,
        }

    @property
    def restarts(self) -> int:
        return self._restarts

    @property
    def steps(self) -> int:
        return self._iterations

    def start(self, slots: Slots) -> FabSlots:
        x_adv = slots.x.clone()
        again = slots.restart > 0
        if bool(again.any()):
            draw = self.norm.random_direction(randomness.at_step(slots.key, slots.step), slots.x.shape[1])
            # Half of epsilon: appendix of the paper, and the reference implementation.
            away = (slots.x + 0.5 * self.epsilon * draw).clamp(0, 1)
            x_adv = torch.where(again[:, None], away, x_adv)
        return FabSlots(**slots.tensors(), x_adv=x_adv)

    def step(self, state: FabSlots, classifier: Classifier, live: int) -> Proposal:
        weight, gap = self._linearise(state, classifier, live)
        x_new = self._towards_boundary(state, weight, gap)
        adversarial = misclassified(classifier.logits(x_new, live), state.y)
        within = adversarial & (self.norm.distance(x_new - state.x) <= self.epsilon)
        moved_back = state.x + self._beta * (x_new - state.x)
        state.x_adv = torch.where(adversarial[:, None], moved_back, x_new)
        state.step = state.step + 1
        return Proposal(x_new, within, state.step == self._iterations)

    def _linearise(self, state: FabSlots, classifier: Classifier, live: int) -> tuple[Tensor, Tensor]:
        """Return a hyperplane's normal, (n, d), and what ``weight · x`` lacks at the iterate to reach it, (n,)."""

        def objectives(logits: Tensor) -> Tensor:
            # The other classes in ascending order: each row leaves its own label out.
            rank = torch.arange(logits.shape[1] - 1, device=logits.device)[None, :]
            others = rank + (rank >= state.y[:, None])
            return logits.gather(1, others) - logits.gather(1, state.y[:, None])

        found = classifier.gradients(state.x_adv, objectives, live)
        n, classes, size = found.grad.shape
        steepness = self.norm.dual(found.grad.reshape(-1, size)).view(n, classes)
        nearest = (found.value.abs() / steepness.clamp_min(_TINY)).argmin(1)
        row = torch.arange(n, device=nearest.device)
        return found.grad[row, nearest], -found.value[row, nearest]

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


class FabT(Fab):
    """Run targeted FAB: as `Fab`, with the hyperplane of one target class at a time.

    Args:
        norm: geometry of the threat model.
        epsilon: budget in pixel units, > 0.
        image_shape: (c, h, w).
        iterations: steps for each target and restart.
        targets: classes tried.
        restarts: runs on each point and target.
    Source:
        Croce & Hein 2020, arXiv:2003.01690, section 4.
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
        restarts: int = 1,
    ) -> None:
        super().__init__(norm, epsilon, image_shape, iterations=iterations, restarts=restarts)
        self._targets = targets

    @property
    def targets(self) -> int:
        return self._targets

    def _linearise(self, state: FabSlots, classifier: Classifier, live: int) -> tuple[Tensor, Tensor]:
        def objective(logits: Tensor) -> Tensor:
            return losses.logit_gap(logits, state.y, state.target)

        found = classifier.gradient(state.x_adv, objective, live)
        return found.grad, -found.value
