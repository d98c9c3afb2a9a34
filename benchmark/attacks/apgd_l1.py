"""Auto-PGD in L1: steps as sparse as the best perturbation so far, at radii that shrink to the budget."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from benchmark import randomness
from benchmark.attacks.base import Attack, Proposal, Slots
from benchmark.classifier import Classifier
from benchmark.judging import misclassified
from benchmark.losses import LOSSES, LossName
from benchmark.norms import L1

_SHARES: dict[int, tuple[float, ...]] = {1: (), 3: (0.3, 0.3)}
"""Shares of the iterations spent at all radii but the last, by the number of radii; the last gets the rest."""


@dataclass
class ApgdL1Slots(Slots):
    """State of APGD in L1.

    Args:
        x_adv: the iterate to evaluate next, (n, d).
        x_best: the iterate with the highest loss at the present radius, (n, d).
        grad_best: its gradient, (n, d).
        loss_best: its loss, (n,).
        share: share of the pixels that a step changes, (n,).
        changed: pixels that the best iterate changed at the last checkpoint, (n,).
        step_size: (n,).
    """

    x_adv: Tensor
    x_best: Tensor
    grad_best: Tensor
    loss_best: Tensor
    share: Tensor
    changed: Tensor
    step_size: Tensor


@dataclass(frozen=True)
class _Schedule:
    """What each step of an item is, all (steps,).

    Args:
        radius: budget in force.
        following: budget in force after the step.
        first: the step evaluates the first iterate at its radius.
        last: the step evaluates the last one.
        checkpoint: the step size may change after it.
    """

    radius: Tensor
    following: Tensor
    first: Tensor
    last: Tensor
    checkpoint: Tensor


class ApgdL1(Attack[ApgdL1Slots]):
    """Run Auto-PGD in L1: another algorithm than in Linf and L2, without momentum and with sparse steps.

    With several radii each item begins at the largest; the best point there, projected, is the start at the next.

    Args:
        norm: L1.
        epsilon: budget in pixel units, > 0.
        image_shape: (c, h, w).
        loss: "ce", "dlr" or "targeted-dlr".
        iterations: steps after the starts, over all radii.
        restarts: independent random starts.
        targets: classes tried, for the targeted loss.
        samples: passes over which each gradient is averaged, for models that draw at random.
        radii: budgets in multiples of epsilon, the last of them 1: one, or three for 30, 30 and 40 % of the iterations.
    Source:
        Croce & Hein 2021, arXiv:2103.01208, algorithm 1 and section 4; the radii as in the reference implementation's
        standard ensemble. An item that starts from a given point, as all do with several radii, begins with that
        point's sparsity instead of a fifth of the pixels, as there.
    """

    first_share = 0.2
    """Share of the pixels that the steps from a dense start change, section 4.2."""
    least_sparser = 0.95
    """The perturbation counts as sparser from this ratio to its last sparsity down, algorithm 1."""
    decrease = 1.5
    """Divides the sparsity of the best point, and the step size where it is not reset."""
    step_range = 10.0
    """Ratio of the largest to the smallest step size."""

    def __init__(
        self,
        norm: L1,
        epsilon: float,
        image_shape: tuple[int, int, int],
        *,
        loss: LossName,
        iterations: int = 100,
        restarts: int = 1,
        targets: int = 0,
        samples: int = 1,
        radii: tuple[float, ...] = (3.0, 2.0, 1.0),
    ) -> None:
        super().__init__(norm, epsilon, image_shape)
        self.name = "apgd-t" if loss == "targeted-dlr" else f"apgd-{loss}"
        self._l1 = norm
        self._loss = loss
        self._iterations = iterations
        self._restarts = restarts
        self._targets = targets
        self._samples = samples
        self._radii = radii

    @property
    def parameters(self) -> dict[str, int | float | str | bool]:
        averaged: dict[str, int | float | str | bool] = {"eot": self._samples} if self._samples > 1 else {}
        return averaged | {
            "loss": self._loss,
            "iterations": self._iterations,
            "restarts": self._restarts,
            "targets": self._targets,
            "radii": ", ".join(f"{radius:g}" for radius in self._radii),
        }

    @property
    def restarts(self) -> int:
        return self._restarts

    @property
    def targets(self) -> int:
        return self._targets

    @property
    def steps(self) -> int:
        return len(self.schedule.radius)

    @cached_property
    def schedule(self) -> _Schedule:
        """What each step of an item is."""
        early = [math.ceil(share * self._iterations) for share in _SHARES[len(self._radii)]]
        lengths = [*early, max(self._iterations - sum(early), 1)]
        radius, first, last, checkpoint = [], [], [], []
        for multiple, length in zip(self._radii, lengths, strict=True):
            window = max(int(0.04 * length), 1)
            for number in range(length + 1):
                radius.append(multiple * self.epsilon)
                first.append(number == 0)
                last.append(number == length)
                checkpoint.append(number > 0 and number % window == 0)
        following = [*radius[1:], radius[-1]]
        return _Schedule(
            torch.tensor(radius), torch.tensor(following), torch.tensor(first), torch.tensor(last),
            torch.tensor(checkpoint),
        )  # fmt: skip

    def start(self, slots: Slots) -> ApgdL1Slots:
        n, size = slots.x.shape
        draw = randomness.normal(randomness.at_step(slots.key, slots.step), size)
        x_adv = self._l1.confine(slots.x, slots.x + draw, self._radii[0] * self.epsilon)
        zeros = slots.x.new_zeros(n)
        dense = len(self._radii) == 1
        changed = zeros + size if dense else _changed(slots.x, x_adv)
        return ApgdL1Slots(
            **slots.tensors(),
            x_adv=x_adv,
            x_best=x_adv.clone(),
            grad_best=torch.zeros_like(x_adv),
            loss_best=zeros - torch.inf,
            share=zeros + self.first_share if dense else changed / size / self.decrease,
            changed=changed,
            step_size=zeros + self._radii[0] * self.epsilon,
        )

    def step(self, state: ApgdL1Slots, classifier: Classifier, live: int) -> Proposal:
        def objective(logits: Tensor) -> Tensor:
            return LOSSES[self._loss](logits, state.y, state.target)

        schedule, place = self.schedule, state.step.cpu().clamp_max(self.steps - 1)
        device = state.x.device
        radius, last = schedule.radius[place].to(device), schedule.last[place].to(device)
        evaluated = state.x_adv
        found = classifier.gradient(evaluated, objective, live, self._samples)
        better = (found.value > state.loss_best) | schedule.first[place].to(device)
        state.x_best = torch.where(better[:, None], evaluated, state.x_best)
        state.grad_best = torch.where(better[:, None], found.grad, state.grad_best)
        state.loss_best = torch.where(better, found.value, state.loss_best)
        x_now, grad = self._adapt(state, found.grad, radius, schedule.checkpoint[place].to(device))
        ahead = x_now + state.step_size[:, None] * self._sparse_step(grad, state.share)
        # The last step at a radius goes on from the best point there instead.
        ahead = torch.where(last[:, None], state.x_best, ahead)
        following = schedule.following[place].to(device)
        state.x_adv = self._l1.confine(state.x, ahead, following)
        self._begin_radius(state, following, last)
        state.step = state.step + 1
        # At a larger radius an example is no claim, not even where it happens to lie within the budget.
        within = radius <= schedule.radius[-1].to(device)
        return Proposal(evaluated, misclassified(found.logits, state.y) & within, state.step >= self.steps)

    def _adapt(self, state: ApgdL1Slots, grad: Tensor, radius: Tensor, checkpoint: Tensor) -> tuple[Tensor, Tensor]:
        """At a checkpoint, start afresh from the best point where it has become sparser, else take smaller steps."""
        changed = _changed(state.x, state.x_best)
        sparser = changed < self.least_sparser * state.changed
        smaller = torch.maximum(state.step_size / self.decrease, radius / self.step_range)
        state.step_size = torch.where(checkpoint, torch.where(sparser, radius, smaller), state.step_size)
        state.share = torch.where(checkpoint, changed / state.x.shape[1] / self.decrease, state.share)
        state.changed = torch.where(checkpoint, changed, state.changed)
        back = (checkpoint & sparser)[:, None]
        return torch.where(back, state.x_best, state.x_adv), torch.where(back, state.grad_best, grad)

    def _sparse_step(self, grad: Tensor, share: Tensor) -> Tensor:
        """Return a step of length 1 that is equal on the share of pixels with the steepest gradient, (n, d)."""
        size = grad.shape[1]
        rank = ((1 - share) * size).clamp(0, size - 1).long()
        threshold = grad.abs().sort(dim=1).values.gather(1, rank[:, None])
        chosen = grad.sign() * (grad.abs() >= threshold)
        return chosen / self._l1.distance(chosen).clamp_min(1)[:, None]

    def _begin_radius(self, state: ApgdL1Slots, radius: Tensor, begins: Tensor) -> None:
        changed = _changed(state.x, state.x_adv)
        state.changed = torch.where(begins, changed, state.changed)
        state.share = torch.where(begins, changed / state.x.shape[1] / self.decrease, state.share)
        state.step_size = torch.where(begins, radius, state.step_size)


def _changed(x: Tensor, x_adv: Tensor) -> Tensor:
    """Return how many pixels differ, (n,), as float32."""
    return (x_adv != x).sum(1).to(x.dtype)
