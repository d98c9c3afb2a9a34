"""The momentum iterative method: steps along an accumulated gradient, which carry over to other models better."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark import losses, randomness
from benchmark.attacks.base import Attack, Proposal, Slots
from benchmark.classifier import Classifier
from benchmark.judging import misclassified
from benchmark.norms import Norm


@dataclass
class MomentumSlots(Slots):
    """State of the momentum method.

    Args:
        x_adv: the iterate to evaluate next, (n, d).
        momentum: the gradients so far, each of length 1 in L1 and older ones decayed, (n, d).
    """

    x_adv: Tensor
    momentum: Tensor


@dataclass(frozen=True)
class Slope:
    """What is known at n iterates.

    Args:
        logits: answers of the model under attack, (n, classes).
        grad: the direction in which to climb, (n, d): a gradient, of that model or of another.
    """

    logits: Tensor
    grad: Tensor


class Momentum(Attack[MomentumSlots]):
    """Climb the cross-entropy along the accumulated gradient, in steps of one size.

    The first restart begins at the clean point, so a single one has no randomness; later ones begin at random points of
    the ball's surface. In L1 a step changes as few pixels as the box allows, which makes this attack weak there: prefer
    APGD.

    Args:
        norm: geometry of the threat model.
        epsilon: budget in pixel units, > 0.
        image_shape: (c, h, w).
        iterations: steps after the start.
        step_size: length of each step, in pixel units; by default 2.5 × epsilon / iterations.
        decay: share of the accumulated gradient that the next step keeps.
        restarts: independent runs.
    Source:
        Dong et al. 2018, arXiv:1710.06081, algorithm 1, with its decay of 1. Differs: longer steps by default, as PGD
        has them here, confined to the ball; norms other than Linf have their own steepest step; restarts.
    """

    name = "mi-fgsm"

    def __init__(
        self,
        norm: Norm,
        epsilon: float,
        image_shape: tuple[int, int, int],
        *,
        iterations: int = 40,
        step_size: float | None = None,
        decay: float = 1.0,
        restarts: int = 1,
    ) -> None:
        super().__init__(norm, epsilon, image_shape)
        self._iterations = iterations
        # Madry et al. 2018, appendix: 2.5 times what the steps need to cross the ball once.
        self._step_size = 2.5 * epsilon / iterations if step_size is None else step_size
        self._decay = decay
        self._restarts = restarts

    @property
    def parameters(self) -> dict[str, int | float | str | bool]:
        return {
            "loss": "ce",
            "iterations": self._iterations,
            "step_size": self._step_size,
            "decay": self._decay,
            "restarts": self._restarts,
        }

    @property
    def restarts(self) -> int:
        return self._restarts

    @property
    def steps(self) -> int:
        return self._iterations + 1

    def start(self, slots: Slots) -> MomentumSlots:
        return MomentumSlots(**slots.tensors(), x_adv=self._first(slots), momentum=torch.zeros_like(slots.x))

    def _first(self, slots: Slots) -> Tensor:
        """Return where the items begin, (n, d)."""
        return torch.where((slots.restart == 0)[:, None], slots.x, self._on_surface(slots))

    def _on_surface(self, slots: Slots) -> Tensor:
        """Draw points on the surface of the balls, as far as the box allows, (n, d)."""
        draw = self.norm.random_direction(randomness.at_step(slots.key, slots.step), slots.x.shape[1])
        return self.norm.confine(slots.x, slots.x + self.epsilon * draw, self.epsilon)

    def _slope(self, state: MomentumSlots, classifier: Classifier, live: int) -> Slope:
        """Evaluate the iterates; this is the only place that knows where gradients come from."""
        found = classifier.gradient(state.x_adv, lambda logits: losses.cross_entropy(logits, state.y), live)
        return Slope(found.logits, found.grad)

    def step(self, state: MomentumSlots, classifier: Classifier, live: int) -> Proposal:
        evaluated = state.x_adv
        slope = self._slope(state, classifier, live)
        length = slope.grad.abs().sum(1, keepdim=True).clamp_min(torch.finfo(slope.grad.dtype).tiny)
        state.momentum = self._decay * state.momentum + slope.grad / length
        ahead = self.norm.climb(evaluated, state.momentum, self._step_size)
        state.x_adv = self.norm.confine(state.x, ahead, self.epsilon)
        state.step = state.step + 1
        return Proposal(evaluated, misclassified(slope.logits, state.y), state.step == self.steps)
