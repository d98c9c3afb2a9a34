"""What Auto-PGD is in every norm: a loss to climb, the best point so far, and returns to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from benchmark.attacks.base import Attack, Slots
from benchmark.classifier import Classifier, Gradient
from benchmark.losses import LOSSES, LossName
from benchmark.norms import Norm


@dataclass
class AutoPgdSlots(Slots):
    """What the state of every Auto-PGD holds.

    Args:
        x_adv: the iterate to evaluate next, (n, d).
        x_best: the iterate with the highest loss so far, (n, d).
        grad_best: its gradient, (n, d).
        loss_best: its loss, (n,).
        step_size: (n,).
    """

    x_adv: Tensor
    x_best: Tensor
    grad_best: Tensor
    loss_best: Tensor
    step_size: Tensor


A = TypeVar("A", bound=AutoPgdSlots)


class AutoPgd(Attack[A]):
    """Climb a loss, remember the best point and go back to it where the attack's schedule says so.

    Args:
        norm: geometry of the threat model.
        epsilon: budget in pixel units, > 0.
        image_shape: (c, h, w).
        loss: "ce", "dlr" or "targeted-dlr".
        iterations: steps after the starts.
        restarts: independent random starts.
        targets: classes tried, for the targeted loss.
        samples: passes over which each gradient is averaged, for models that draw at random.
    """

    def __init__(
        self,
        norm: Norm,
        epsilon: float,
        image_shape: tuple[int, int, int],
        *,
        loss: LossName,
        iterations: int = 100,
        restarts: int = 1,
        targets: int = 0,
        samples: int = 1,
    ) -> None:
        super().__init__(norm, epsilon, image_shape)
        self.name = "apgd-t" if loss == "targeted-dlr" else f"apgd-{loss}"
        self._loss = loss
        self._iterations = iterations
        self._restarts = restarts
        self._targets = targets
        self._samples = samples

    @property
    def parameters(self) -> dict[str, int | float | str | bool]:
        averaged: dict[str, int | float | str | bool] = {"eot": self._samples} if self._samples > 1 else {}
        return averaged | {
            "loss": self._loss,
            "iterations": self._iterations,
            "restarts": self._restarts,
            "targets": self._targets,
        }

    @property
    def restarts(self) -> int:
        return self._restarts

    @property
    def targets(self) -> int:
        return self._targets

    def _climb(self, state: A, classifier: Classifier, live: int, afresh: Tensor) -> Gradient:
        """Evaluate the iterate, and remember it where its loss is the highest so far.

        Args:
            state: the slots.
            classifier: the model.
            live: number of slots whose passes count.
            afresh: slots in which whatever was best before does not count, (n,).
        """
        found = classifier.gradient(
            state.x_adv, lambda logits: LOSSES[self._loss](logits, state.y, state.target), live, self._samples
        )
        better = (found.value > state.loss_best) | afresh
        state.loss_best = torch.where(better, found.value, state.loss_best)
        # Row by row: choosing between whole batches by a mask of rows takes as long as four additions.
        rows = torch.nonzero(better).flatten()
        state.x_best[rows] = state.x_adv[rows]
        state.grad_best[rows] = found.grad[rows]
        return found

    def _go_back(self, state: A, grad: Tensor, back: Tensor) -> tuple[Tensor, Tensor]:
        """Return where to go on from and the gradient there: the best point in the given slots, else the iterate."""
        rows = torch.nonzero(back).flatten()
        if len(rows) == 0:
            return state.x_adv, grad
        x_now, grad = state.x_adv.clone(), grad.clone()
        x_now[rows], grad[rows] = state.x_best[rows], state.grad_best[rows]
        return x_now, grad
