"""Auto-PGD in L1: steps as sparse as the best perturbation so far, at radii that shrink to the budget."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import lru_cache

import torch
from torch import Tensor

from benchmark import randomness
from benchmark.attacks.auto_pgd import AutoPgd, AutoPgdSlots
from benchmark.attacks.base import Proposal, Slots
from benchmark.classifier import Classifier
from benchmark.judging import misclassified
from benchmark.losses import LossName
from benchmark.norms import L1

_SHARES: dict[int, tuple[float, ...]] = {1: (), 3: (0.3, 0.3)}
"""Shares of the iterations spent at all radii but the last, by the number of radii; the last gets the rest."""


@dataclass
class ApgdL1Slots(AutoPgdSlots):
    """State of APGD in L1, where the best iterate is that at the present radius.

    Args:
        share: share of the pixels that a step changes, (n,).
        changed: pixels that the best iterate changed at the last checkpoint, (n,).
    """

    share: Tensor
    changed: Tensor


@dataclass(frozen=True)
class Schedule:
    """What each step of an item is, or of each slot, all (steps,) or (n,).

    Args:
        radius: budget in force.
        final: it is the threat model's.
        following: budget in force after the step.
        first: the step evaluates the first iterate at its radius.
        last: the step evaluates the last one.
        checkpoint: the step size may change after it.
    """

    radius: Tensor
    final: Tensor
    following: Tensor
    first: Tensor
    last: Tensor
    checkpoint: Tensor

    def at(self, step: Tensor) -> Schedule:
        """Return what these steps are; a slot that is done stays at the last."""
        place = step.clamp_max(len(self.radius) - 1)
        return Schedule(**{field.name: getattr(self, field.name)[place] for field in fields(self)})


class ApgdL1(AutoPgd[ApgdL1Slots]):
    """Run Auto-PGD in L1: another algorithm than in Linf and L2, without momentum and with sparse steps.

    With several radii each item begins at the largest; the best point there, projected, is the start at the next.

    Args:
        norm, epsilon, image_shape, loss, iterations, restarts, targets, samples: as in every Auto-PGD.
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
        super().__init__(
            norm, epsilon, image_shape,
            loss=loss, iterations=iterations, restarts=restarts, targets=targets, samples=samples,
        )  # fmt: skip
        self._l1 = norm
        self._radii = radii

    @property
    def parameters(self) -> dict[str, int | float | str | bool]:
        return super().parameters | {"radii": ", ".join(f"{radius:g}" for radius in self._radii)}

    @property
    def steps(self) -> int:
        return len(self.schedule(torch.device("cpu")).radius)

    def schedule(self, device: torch.device) -> Schedule:
        """Return what each step of an item is."""
        return _schedule(self._iterations, tuple(radius * self.epsilon for radius in self._radii), device)

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
        now = self.schedule(state.x.device).at(state.step)
        evaluated = state.x_adv
        found = self._climb(state, classifier, live, afresh=now.first)
        x_now, grad = self._adapt(state, found.grad, now)
        ahead = x_now + state.step_size[:, None] * self._sparse_step(grad, state.share)
        # The last step at a radius goes on from the best point there instead.
        last = torch.nonzero(now.last).flatten()
        ahead[last] = state.x_best[last]
        state.x_adv = self._l1.confine(state.x, ahead, now.following)
        self._begin_radius(state, now.following, last)
        state.step = state.step + 1
        # At a larger radius an example is no claim, not even where it happens to lie within the budget.
        claimed = misclassified(found.logits, state.y) & now.final
        return Proposal(evaluated, claimed, state.step >= self.steps)

    def _adapt(self, state: ApgdL1Slots, grad: Tensor, now: Schedule) -> tuple[Tensor, Tensor]:
        """At a checkpoint, start afresh from the best point where it has become sparser, else take smaller steps."""
        if not bool(now.checkpoint.any()):
            return state.x_adv, grad
        changed = _changed(state.x, state.x_best)
        sparser = changed < self.least_sparser * state.changed
        smaller = torch.maximum(state.step_size / self.decrease, now.radius / self.step_range)
        state.step_size = torch.where(now.checkpoint, torch.where(sparser, now.radius, smaller), state.step_size)
        state.share = torch.where(now.checkpoint, changed / state.x.shape[1] / self.decrease, state.share)
        state.changed = torch.where(now.checkpoint, changed, state.changed)
        return self._go_back(state, grad, now.checkpoint & sparser)

    def _sparse_step(self, grad: Tensor, share: Tensor) -> Tensor:
        """Return a step of length 1 that is equal on the share of pixels with the steepest gradient, (n, d)."""
        steepness, size = grad.abs(), grad.shape[1]
        rank = ((1 - share) * size).clamp(0, size - 1).long()
        # The largest share of any slot is enough of the order, and much less work than all of it.
        top = steepness.topk(size - int(rank.min()), dim=1).values
        chosen = grad.sign() * (steepness >= top.gather(1, size - 1 - rank[:, None]))
        return chosen / self._l1.distance(chosen).clamp_min(1)[:, None]

    def _begin_radius(self, state: ApgdL1Slots, radius: Tensor, begins: Tensor) -> None:
        """Give the rows that begin at a radius its step size and the sparsity of where they begin."""
        changed = _changed(state.x[begins], state.x_adv[begins])
        state.changed[begins] = changed
        state.share[begins] = changed / state.x.shape[1] / self.decrease
        state.step_size[begins] = radius[begins]


@lru_cache(maxsize=16)
def _schedule(iterations: int, radii: tuple[float, ...], device: torch.device) -> Schedule:
    early = [math.ceil(share * iterations) for share in _SHARES[len(radii)]]
    lengths = [*early, max(iterations - sum(early), 1)]
    radius, final, first, last, checkpoint = [], [], [], [], []
    for budget, length in zip(radii, lengths, strict=True):
        window = max(int(0.04 * length), 1)
        for number in range(length + 1):
            radius.append(budget)
            final.append(budget == radii[-1])
            first.append(number == 0)
            last.append(number == length)
            checkpoint.append(number > 0 and number % window == 0)
    following = [*radius[1:], radius[-1]]
    columns = (torch.tensor(column, device=device) for column in (radius, final, following, first, last, checkpoint))
    return Schedule(*columns)


def _changed(x: Tensor, x_adv: Tensor) -> Tensor:
    """Return how many pixels differ, (n,), as float32."""
    return (x_adv != x).sum(1).to(x.dtype)
