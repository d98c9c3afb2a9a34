"""SPSA: climbs a gradient that is estimated from answers alone, so that no gradient can mislead it."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark import losses, randomness
from benchmark.attacks.base import Slots
from benchmark.attacks.momentum import Momentum, MomentumSlots, Slope
from benchmark.classifier import Classifier
from benchmark.norms import Norm


class Spsa(Momentum):
    """Climb the negative margin along gradients estimated by simultaneous perturbation, from a random start.

    An estimate is a sum over random directions of ±1 in every pixel, each times the difference of the loss that a short
    way forth and back makes: two forward passes for each direction, and one for the iterate. A sum over few directions
    is noisy, and the more so the more pixels there are: on large images the default effort is a weak attack.

    Args:
        norm: geometry of the threat model.
        epsilon: budget in pixel units, > 0.
        image_shape: (c, h, w).
        iterations: steps after the start.
        samples: directions for each step.
        step_size: length of each step, in pixel units; by default half of epsilon.
        decay: share of the accumulated estimates that the next step keeps.
        reach: way forth and back along a direction, in every pixel, in pixel units, at most 1/2.
    Source:
        Uesato et al. 2018, arXiv:1802.05666, section 4.2, with its reach of 0.01 and the 0.9 that Adam keeps of its
        first moment. Differs: in every norm the accumulated estimates, each of length 1 in L1, are climbed along the
        steepest direction. Adam knows no norm: on the digits it left more points robust in all three at the paper's
        rate of 0.01, and in L2 at every rate that was tried. Estimates are made so far inside the box that no direction
        leaves it, and of fewer passes.
    """

    name = "spsa"

    def __init__(
        self,
        norm: Norm,
        epsilon: float,
        image_shape: tuple[int, int, int],
        *,
        iterations: int = 60,
        samples: int = 32,
        step_size: float | None = None,
        decay: float = 0.9,
        reach: float = 0.01,
    ) -> None:
        super().__init__(
            norm, epsilon, image_shape,
            iterations=iterations, step_size=epsilon / 2 if step_size is None else step_size, decay=decay,
        )  # fmt: skip
        self._samples = samples
        self._reach = reach

    @property
    def parameters(self) -> dict[str, int | float | str | bool]:
        return super().parameters | {"loss": "margin", "samples": self._samples, "reach": self._reach}

    def _first(self, slots: Slots) -> Tensor:
        # Where all answers near the clean point are equal or unusable, an estimate from there would lead nowhere.
        return self._on_surface(slots)

    def _slope(self, state: MomentumSlots, classifier: Classifier, live: int) -> Slope:
        logits = classifier.logits(state.x_adv, live)
        return Slope(logits, self._estimate(state, classifier, live))

    def _estimate(self, state: MomentumSlots, classifier: Classifier, live: int) -> Tensor:
        """Estimate the gradient of the negative margin at the iterates, (n, d)."""
        centre = state.x_adv.clamp(self._reach, 1 - self._reach)
        key = randomness.at_step(state.key, state.step)
        total = torch.zeros_like(centre)
        for number in range(self._samples):
            direction = randomness.rademacher(randomness.at_step(key, torch.full_like(key, number)), centre.shape[1])
            way = self._reach * direction
            forth, back = (classifier.logits(x_adv, live) for x_adv in (centre + way, centre - way))
            fall = losses.margin(back, state.y) - losses.margin(forth, state.y)
            # An answer that is not finite tells nothing of the way to it.
            total.addcmul_(_finite(fall)[:, None], direction)
        return _finite(total / (2 * self._reach * self._samples))


def _finite(values: Tensor) -> Tensor:
    return values.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
