"""The Fast Adaptive Boundary attack, targeted or not: steps towards the closest point of the decision boundary."""

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

_TINY = 1e-12


@dataclass
class FabSlots(Slots):
    """State of FAB: ``x_adv`` is the point to linearise at, (n, d)."""

    x_adv: Tensor


class _Boundary(Attack[FabSlots]):
    """What both share: project the iterate and the clean point on a hyperplane, and step between the two.

    A point is broken when an adversarial example lies within the budget, so nothing is gained by searching for a closer
    one. The first restart begins at the clean point and has no randomness.
    """

    alpha_max = 0.1
    """Greatest pull towards the clean point's projection."""
    eta = 1.05
    """Overshoot past the hyperplane."""
    beta = 0.9
    """How far a found example is moved back towards the clean point."""

    def __init__(
        self, norm: Norm, epsilon: float, image_shape: tuple[int, int, int], *, iterations: int, restarts: int
    ) -> None:
        super().__init__(norm, epsilon, image_shape)
        self._iterations = iterations
        self._restarts = restarts

    @property
    def parameters(self) -> dict[str, int | float | str | bool]:
        return {
            "iterations": self._iterations,
            "restarts": self._restarts,
            "targets": self.targets,
            "alpha_max": self.alpha_max,
            "eta": self.eta,
            "beta": self.beta,
        }

    @property
    def restarts(self) -> int:
        return self._restarts

    @property
    def steps(self) -> int:
        return self._iterations

    @abstractmethod
    def _linearise(self, state: FabSlots, classifier: Classifier, live: int) -> _Hyperplane:
        """Return the hyperplane that the decision boundary looks like from the iterate."""

    def start(self, slots: Slots) -> FabSlots:
        x_adv = slots.x.clone()
        again = torch.nonzero(slots.restart > 0).flatten()
        if len(again):
            key = randomness.at_step(slots.key[again], slots.step[again])
            draw = self.norm.random_direction(key, slots.x.shape[1])
            # Half of epsilon: appendix of the paper, and the reference implementation.
            x_adv[again] = (slots.x[again] + 0.5 * self.epsilon * draw).clamp(0, 1)
        return FabSlots(**slots.tensors(), x_adv=x_adv)

    def step(self, state: FabSlots, classifier: Classifier, live: int) -> Proposal:
        x_new = self._towards_boundary(state, self._linearise(state, classifier, live))
        delta = x_new - state.x
        adversarial = misclassified(classifier.logits(x_new, live), state.y)
        within = adversarial & (self.norm.distance(delta) <= self.epsilon)
        found = torch.nonzero(adversarial).flatten()
        state.x_adv = x_new.clone()
        state.x_adv[found] = state.x[found] + self.beta * delta[found]
        state.step = state.step + 1
        return Proposal(x_new, within, state.step == self._iterations)

    def _towards_boundary(self, state: FabSlots, plane: _Hyperplane) -> Tensor:
        """Combine the projections of iterate and clean point."""
        n = len(plane.gap)
        clean_gap = plane.gap + (plane.weight * (state.x_adv - state.x)).sum(1)
        both = self.norm.to_hyperplane(
            torch.cat((state.x_adv, state.x)),
            torch.cat((plane.weight, plane.weight)),
            torch.cat((plane.gap, clean_gap)),
        )
        length = self.norm.distance(both).clamp_min(1e-8)
        alpha = (length[:n] / (length[:n] + length[n:])).clamp_max(self.alpha_max)[:, None]
        from_iterate = state.x_adv.add(both[:n], alpha=self.eta)
        from_clean = state.x.add(both[n:], alpha=self.eta)
        return torch.lerp(from_iterate, from_clean, alpha).clamp_(0, 1)


@dataclass(frozen=True)
class _Hyperplane:
    """A hyperplane for each point.

    Args:
        weight: its normal, (n, d).
        gap: what ``weight · x`` lacks at the iterate to reach it, (n,).
    """

    weight: Tensor
    gap: Tensor


class Fab(_Boundary):
    """Run FAB: linearise, and step towards the nearest of the hyperplanes.

    Args:
        norm: geometry of the threat model.
        epsilon: budget in pixel units, > 0.
        image_shape: (c, h, w).
        iterations: steps of each restart.
        restarts: runs on each point; all but the first begin at a random perturbation of length epsilon / 2.
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
    ) -> None:
        super().__init__(norm, epsilon, image_shape, iterations=iterations, restarts=restarts)

    def _linearise(self, state: FabSlots, classifier: Classifier, live: int) -> _Hyperplane:
        def objectives(logits: Tensor) -> Tensor:
            # The other classes in ascending order: each row leaves its own label out.
            rank = torch.arange(logits.shape[1] - 1, device=logits.device)[None, :]
            others = rank + (rank >= state.y[:, None])
            return logits.gather(1, others) - logits.gather(1, state.y[:, None])

        # One class after another, for all gradients at once would not fit into memory where there are many classes.
        weight, gap = torch.zeros_like(state.x), torch.zeros_like(state.x[:, 0])
        nearest = torch.full_like(gap, torch.inf)
        for found in classifier.gradients(state.x_adv, objectives, live):
            distance = found.value.abs() / self.norm.dual(found.grad).clamp_min(_TINY)
            nearer = distance < nearest
            nearest = torch.where(nearer, distance, nearest)
            gap = torch.where(nearer, -found.value, gap)
            rows = torch.nonzero(nearer).flatten()
            weight[rows] = found.grad[rows]
        return _Hyperplane(weight, gap)


class FabT(_Boundary):
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

    def _linearise(self, state: FabSlots, classifier: Classifier, live: int) -> _Hyperplane:
        def objective(logits: Tensor) -> Tensor:
            return losses.logit_gap(logits, state.y, state.target)

        found = classifier.gradient(state.x_adv, objective, live)
        return _Hyperplane(found.grad, -found.value)
