"""Auto-PGD in Linf and L2, untargeted on cross-entropy or DLR and targeted on DLR."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from benchmark import randomness
from benchmark.attacks.auto_pgd import AutoPgd, AutoPgdSlots
from benchmark.attacks.base import Proposal, Slots
from benchmark.classifier import Classifier
from benchmark.judging import misclassified


@dataclass
class ApgdSlots(AutoPgdSlots):
    """State of APGD.

    Args:
        x_prev: the iterate before the one to evaluate next, (n, d).
        loss_prev: its loss, (n,).
        loss_best_at_check: highest loss at the last checkpoint, (n,); meaningless before the first.
        rises: steps of the present window that raised the loss, (n,).
        halved: whether the last checkpoint halved the step size, (n,).
    """

    x_prev: Tensor
    loss_prev: Tensor
    loss_best_at_check: Tensor
    rises: Tensor
    halved: Tensor


class Apgd(AutoPgd[ApgdSlots]):
    """Run Auto-PGD in Linf or L2: a step size that halves by itself, momentum, and returns to the best point.

    Source:
        Croce & Hein 2020, arXiv:2003.01690, algorithm 1. Differs from the reference implementation: the first window
        compares the first step with the start instead of counting one phantom rise.
    """

    momentum = 0.75
    """Weight of the step against the direction so far."""
    rho = 0.75
    """Share of rising steps up to which a checkpoint halves the step size."""

    @property
    def parameters(self) -> dict[str, int | float | str | bool]:
        return super().parameters | {"rho": self.rho}

    @property
    def steps(self) -> int:
        return self._iterations + 1

    def start(self, slots: Slots) -> ApgdSlots:
        n, size = slots.x.shape
        draw = self.norm.random_direction(randomness.at_step(slots.key, slots.step), size)
        x_adv = (slots.x + self.epsilon * draw).clamp(0, 1)
        zeros = slots.x.new_zeros(n)
        return ApgdSlots(
            **slots.tensors(),
            x_adv=x_adv,
            x_best=x_adv.clone(),
            grad_best=torch.zeros_like(x_adv),
            loss_best=zeros - torch.inf,
            step_size=zeros + 2 * self.epsilon,
            x_prev=x_adv.clone(),
            # Above every loss, so that the start counts as no rise.
            loss_prev=zeros + torch.inf,
            loss_best_at_check=zeros.clone(),
            rises=torch.zeros_like(slots.step),
            # The first checkpoint has no checkpoint before it, so that stagnation does not count there.
            halved=torch.ones_like(slots.step, dtype=torch.bool),
        )

    def step(self, state: ApgdSlots, classifier: Classifier, live: int) -> Proposal:
        evaluated = state.x_adv
        first = state.step == 0
        found = self._climb(state, classifier, live, afresh=first)
        state.rises = state.rises + (found.value > state.loss_prev)
        state.loss_prev = found.value
        x_now, grad = self._halve_where_stuck(state, found.grad)
        state.x_adv = self._next(state, x_now, grad, first)
        state.x_prev = x_now
        done = state.step == self._iterations
        state.step = state.step + 1
        return Proposal(evaluated, misclassified(found.logits, state.y), done)

    def _halve_where_stuck(self, state: ApgdSlots, grad: Tensor) -> tuple[Tensor, Tensor]:
        """At a checkpoint, halve the step size and go back to the best point where the loss no longer rises."""
        window = windows(self._iterations, state.step.device)[state.step.clamp_max(self._iterations)]
        checkpoint = window > 0
        if not bool(checkpoint.any()):
            return state.x_adv, grad
        oscillates = state.rises <= self.rho * window
        stagnates = ~state.halved & (state.loss_best_at_check >= state.loss_best)
        halve = checkpoint & (oscillates | stagnates)
        state.halved = torch.where(checkpoint, halve, state.halved)
        state.loss_best_at_check = torch.where(checkpoint, state.loss_best, state.loss_best_at_check)
        state.rises = torch.where(checkpoint, 0, state.rises)
        state.step_size = torch.where(halve, state.step_size / 2, state.step_size)
        return self._go_back(state, grad, halve)

    def _next(self, state: ApgdSlots, x_now: Tensor, grad: Tensor, first: Tensor) -> Tensor:
        weight = torch.where(first, 1.0, self.momentum)[:, None]
        ahead = x_now + state.step_size[:, None] * self.norm.steepest(grad)
        ahead = self.norm.confine(state.x, ahead, self.epsilon)
        inertia = (x_now - state.x_prev).mul_(1 - weight)
        # In place, for every fresh tensor of this size costs as much as the sum itself.
        mixed = ahead.sub_(x_now).mul_(weight).add_(x_now).add_(inertia)
        return self.norm.confine(state.x, mixed, self.epsilon)


@lru_cache(maxsize=16)
def windows(iterations: int, device: torch.device) -> Tensor:
    """Return the length of the window that ends after each iteration, 0 where none does, (iterations + 1,)."""
    lengths = torch.zeros(iterations + 1, dtype=torch.int64)
    length, shortest = max(int(0.22 * iterations), 1), max(int(0.06 * iterations), 1)
    shrink = max(int(0.03 * iterations), 1)
    end = length
    while end <= iterations:
        lengths[end] = length
        length = max(length - shrink, shortest)
        end += length
    return lengths.to(device)
