"""Auto-PGD in Linf and L2, untargeted on cross-entropy or DLR and targeted on DLR."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from benchmark import randomness
from benchmark.attacks.base import Attack, Proposal, Slots
from benchmark.classifier import Classifier, Gradient
from benchmark.judging import misclassified
from benchmark.losses import LOSSES, LossName
from benchmark.norms import Norm


@dataclass
class ApgdSlots(Slots):
    """State of APGD.

    Args:
        x_adv: the iterate to evaluate next, (n, d).
        x_prev: the iterate before it, (n, d).
        x_best: the iterate with the highest loss so far, (n, d).
        grad_best: its gradient, (n, d).
        loss_best: its loss, (n,).
        loss_prev: loss of the iterate before, (n,).
        loss_best_at_check: highest loss at the last checkpoint, (n,).
        rises: steps of the present window that raised the loss, (n,).
        halved: whether the last checkpoint halved the step size, (n,).
        step_size: (n,).
    """

    x_adv: Tensor
    x_prev: Tensor
    x_best: Tensor
    grad_best: Tensor
    loss_best: Tensor
    loss_prev: Tensor
    loss_best_at_check: Tensor
    rises: Tensor
    halved: Tensor
    step_size: Tensor


class Apgd(Attack[ApgdSlots]):
    """Run Auto-PGD: a step size that halves by itself, momentum, and returns to the best point.

    Args:
        norm: Linf or L2.
        epsilon: budget in pixel units, > 0.
        image_shape: (c, h, w).
        loss: "ce", "dlr" or "targeted-dlr".
        iterations: steps after the start.
        restarts: independent random starts.
        targets: classes tried, for the targeted loss.
        samples: passes over which each gradient is averaged, for models that draw at random.
        rho: share of rising steps below which the step size is halved.
    Source:
        Croce & Hein 2020, arXiv:2003.01690, algorithm 1. Differs from the reference implementation: the first window
        compares the first step with the start instead of counting one phantom rise.
    """

    momentum = 0.75

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
        rho: float = 0.75,
    ) -> None:
        super().__init__(norm, epsilon, image_shape)
        self.name = "apgd-t" if loss == "targeted-dlr" else f"apgd-{loss}"
        self._loss = loss
        self._iterations = iterations
        self._restarts = restarts
        self._targets = targets
        self._samples = samples
        self._rho = rho

    @property
    def parameters(self) -> dict[str, int | float | str | bool]:
        averaged: dict[str, int | float | str | bool] = {"eot": self._samples} if self._samples > 1 else {}
        return averaged | {
            "loss": self._loss,
            "iterations": self._iterations,
            "restarts": self._restarts,
            "targets": self._targets,
            "rho": self._rho,
        }

    @property
    def restarts(self) -> int:
        return self._restarts

    @property
    def targets(self) -> int:
        return self._targets

    @property
    def steps(self) -> int:
        return self._iterations + 1

    @cached_property
    def windows(self) -> Tensor:
        """Length of the window that ends after each iteration, 0 where none does, (iterations + 1,)."""
        lengths = torch.zeros(self._iterations + 1, dtype=torch.int64)
        length, shortest = max(int(0.22 * self._iterations), 1), max(int(0.06 * self._iterations), 1)
        shrink = max(int(0.03 * self._iterations), 1)
        end = length
        while end <= self._iterations:
            lengths[end] = length
            length = max(length - shrink, shortest)
            end += length
        return lengths

    def start(self, slots: Slots) -> ApgdSlots:
        n, size = slots.x.shape
        draw = self.norm.random_direction(randomness.at_step(slots.key, slots.step), size)
        x_adv = (slots.x + self.epsilon * draw).clamp(0, 1)
        zeros = slots.x.new_zeros(n)
        return ApgdSlots(
            **slots.tensors(),
            x_adv=x_adv,
            x_prev=x_adv.clone(),
            x_best=x_adv.clone(),
            grad_best=torch.zeros_like(x_adv),
            loss_best=zeros - torch.inf,
            loss_prev=zeros - torch.inf,
            loss_best_at_check=zeros.clone(),
            rises=torch.zeros_like(slots.step),
            halved=torch.ones_like(slots.step, dtype=torch.bool),
            step_size=zeros + 2 * self.epsilon,
        )

    def step(self, state: ApgdSlots, classifier: Classifier, live: int) -> Proposal:
        def objective(logits: Tensor) -> Tensor:
            return LOSSES[self._loss](logits, state.y, state.target)

        evaluated = state.x_adv
        found = classifier.gradient(evaluated, objective, live, self._samples)
        first = state.step == 0
        self._remember(state, found, first)
        x_now, grad = self._halve_where_stuck(state, found.grad)
        state.x_adv = self._next(state, x_now, grad, first)
        state.x_prev = x_now
        done = state.step == self._iterations
        state.step = state.step + 1
        return Proposal(evaluated, misclassified(found.logits, state.y), done)

    def _remember(self, state: ApgdSlots, found: Gradient, first: Tensor) -> None:
        state.rises = state.rises + ((found.value > state.loss_prev) & ~first)
        state.loss_prev = found.value
        better = (found.value > state.loss_best) | first
        state.x_best = torch.where(better[:, None], state.x_adv, state.x_best)
        state.grad_best = torch.where(better[:, None], found.grad, state.grad_best)
        state.loss_best = torch.where(better, found.value, state.loss_best)
        state.loss_best_at_check = torch.where(first, found.value, state.loss_best_at_check)

    def _halve_where_stuck(self, state: ApgdSlots, grad: Tensor) -> tuple[Tensor, Tensor]:
        """At a checkpoint, halve the step size and go back to the best point where the loss no longer rises."""
        window = self.windows.to(state.step.device)[state.step.clamp_max(self._iterations)]
        checkpoint = window > 0
        if not bool(checkpoint.any()):
            return state.x_adv, grad
        oscillates = state.rises <= self._rho * window
        stagnates = ~state.halved & (state.loss_best_at_check >= state.loss_best)
        halve = checkpoint & (oscillates | stagnates)
        state.halved = torch.where(checkpoint, halve, state.halved)
        state.loss_best_at_check = torch.where(checkpoint, state.loss_best, state.loss_best_at_check)
        state.rises = torch.where(checkpoint, 0, state.rises)
        state.step_size = torch.where(halve, state.step_size / 2, state.step_size)
        back = halve[:, None]
        return torch.where(back, state.x_best, state.x_adv), torch.where(back, state.grad_best, grad)

    def _next(self, state: ApgdSlots, x_now: Tensor, grad: Tensor, first: Tensor) -> Tensor:
        weight = torch.where(first, 1.0, self.momentum)[:, None]
        ahead = x_now + state.step_size[:, None] * self.norm.steepest(grad)
        ahead = self.norm.confine(state.x, ahead, self.epsilon)
        inertia = (1 - weight) * (x_now - state.x_prev)
        return self.norm.confine(state.x, x_now + weight * (ahead - x_now) + inertia, self.epsilon)
