"""Continuous batching: keeps a batch of attack slots full until every work item is done.

A work item is (point, restart, target). Items wait in a queue, target by target, so that those of one point rarely run
side by side. After every step the engine has claimed examples judged, retires slots that are done or whose point is
broken, and refills them. When the queue is empty the batch shrinks with the live slots. A model that falls at once
costs little; a robust one costs exactly the attack's passes.

The items of a point have a canonical order, and the lowest one that breaks the point wins: when a later item breaks it
first, earlier ones already running go on to their end. So verdict, step and example do not depend on the width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark import randomness
from benchmark.attacks.base import Attack, Slots, rank_targets
from benchmark.classifier import MIN_ROWS, Classifier, pad_rows
from benchmark.judging import Judgement, judge

_UNBROKEN = torch.iinfo(torch.int64).max
_MANY_ROUNDS = 4
"""From so many rounds on a last one that is nearly empty does not matter."""
_SHRINK_BELOW = 0.75
"""Share of the batch that live slots must leave free before it is made smaller: making it smaller copies the rest."""


@dataclass(frozen=True)
class PointSet:
    """The points an attack runs on.

    Args:
        x: clean points, flat, (n, d).
        y: labels, (n,).
        index: positions in the data set, (n,), int64, on the CPU.
        clean_logits: (n, classes).
    """

    x: Tensor
    y: Tensor
    index: Tensor
    clean_logits: Tensor


@dataclass
class Findings:
    """What an attack has achieved so far, a row for each of its n points.

    Args:
        order: canonical order of the item that broke the point, (n,); the largest int64 where none did.
        step: step at which it broke, (n,).
        distance: of the judged example, float64, (n,).
        x_adv: the judged example, else the clean point, (n, d).
        over_budget: number of examples that the judge refused for distance, range or value.
    """

    order: Tensor
    step: Tensor
    distance: Tensor
    x_adv: Tensor
    over_budget: int = 0

    @property
    def broken(self) -> Tensor:
        """Which points are broken, (n,)."""
        return self.order != _UNBROKEN


class Engine:
    """One attack over one set of points.

    Args:
        attack: what each slot runs.
        classifier: the model that the attack searches with; its counters count the attack's passes.
        judge_classifier: the model that judges; in float32, its own counters.
        points: what to attack.
        seed: seed of the run.
    """

    def __init__(
        self,
        attack: Attack[Slots],
        classifier: Classifier,
        judge_classifier: Classifier,
        points: PointSet,
        seed: int,
    ) -> None:
        self._attack = attack
        self._classifier = classifier
        self._judge_classifier = judge_classifier
        self._points = points
        self._seed = seed
        n = len(points.x)
        columns = max(attack.targets, 1)
        self._targets = rank_targets(points.clean_logits, points.y, columns) if attack.targets else points.y[:, None]
        self._orders = attack.restarts * columns
        self._width = self._even_width()
        self._cursor = 0
        self._slots: Slots | None = None
        # Host-side book of the slots: the point and the order of each item, and whether the slot still works.
        self._slot_point = torch.zeros(0, dtype=torch.int64)
        self._slot_order = torch.zeros(0, dtype=torch.int64)
        self._live = torch.zeros(0, dtype=torch.bool)
        self.findings = Findings(
            order=torch.full((n,), _UNBROKEN),
            step=torch.zeros(n, dtype=torch.int64),
            distance=torch.zeros(n, dtype=torch.float64),
            x_adv=points.x.clone(),
        )

    @property
    def items(self) -> int:
        """Number of work items in all."""
        return self._orders * len(self._points.x)

    @property
    def fraction(self) -> float:
        """Share of the work that is done or not needed, because an earlier item broke the point."""
        if self._slots is None:
            return 0.0
        unfinished = self._attack.steps - self._slots.step.cpu()[self._live].double()
        return (self._cursor - float(unfinished.sum()) / self._attack.steps) / max(self.items, 1)

    def run(self, after_step: Callable[[Engine], None] | None = None) -> Findings:
        """Work until every item is done.

        Args:
            after_step: called after every step; what it raises ends the run.
        """
        while True:
            self._refill()
            live = int(self._live.sum())
            if live == 0:
                return self.findings
            self._shrink(live)
            self._step(live)
            if after_step is not None:
                after_step(self)

    def snapshot(self) -> dict[str, Tensor]:
        """Return all state that `restore` needs to go on exactly from here."""
        state = {f"slot.{name}": value.clone() for name, value in self._slots.tensors().items()} if self._slots else {}
        return state | {
            "cursor": torch.tensor(self._cursor),
            "slot_point": self._slot_point.clone(),
            "slot_order": self._slot_order.clone(),
            "live": self._live.clone(),
            "order": self.findings.order.clone(),
            "step": self.findings.step.clone(),
            "distance": self.findings.distance.clone(),
            "x_adv": self.findings.x_adv.clone(),
            "over_budget": torch.tensor(self.findings.over_budget),
            "passes": torch.tensor(
                [self._classifier.forward_passes, self._classifier.backward_passes, self._classifier.rows_run]
            ),
        }

    def restore(self, state: dict[str, Tensor]) -> None:
        """Continue from a snapshot of an engine with the same attack, points, seed and width."""
        # The engine writes into its tensors; the snapshot stays as it is, so that it can be taken up again.
        state = {name: value.clone() for name, value in state.items()}
        self._cursor = int(state["cursor"])
        self._slot_point, self._slot_order, self._live = state["slot_point"], state["slot_order"], state["live"]
        self.findings = Findings(
            state["order"], state["step"], state["distance"], state["x_adv"], int(state["over_budget"])
        )
        passes = state["passes"].tolist()
        self._classifier.forward_passes, self._classifier.backward_passes, self._classifier.rows_run = passes
        if len(self._slot_point):
            # The fields' names and types are those of a fresh start; their values are the snapshot's.
            self._slots = self._start(self._slot_point, self._slot_order)
            for name in self._slots.tensors():
                setattr(self._slots, name, state[f"slot.{name}"])

    def _start(self, point: Tensor, order: Tensor) -> Slots:
        """Return fresh slots for the given items."""
        columns, device = self._targets.shape[1], self._points.x.device
        key = torch.empty_like(point)
        for value in order.unique().tolist():
            rows = order == value
            restart, target = divmod(value, columns)
            key[rows] = randomness.item_keys(
                self._seed, self._attack.name, restart, target, self._points.index[point[rows]]
            )
        return self._attack.start(
            Slots(
                x=self._points.x[point],
                y=self._points.y[point],
                target=self._targets[point, order % columns],
                key=key.to(device),
                restart=(order // columns).to(device),
                step=torch.zeros_like(point, device=device),
            )
        )

    def _refill(self) -> None:
        if self._cursor == self.items or (len(self._live) and bool(self._live.all())):
            return
        if self._slots is None:
            self._slot_point = torch.zeros(self._width, dtype=torch.int64)
            self._slot_order = torch.zeros(self._width, dtype=torch.int64)
            self._live = torch.zeros(self._width, dtype=torch.bool)
        free = torch.nonzero(~self._live).flatten()
        point, order = self._next_items(len(free))
        if len(point) == 0:
            return
        rows = free[: len(point)]
        self._slot_point[rows], self._slot_order[rows], self._live[rows] = point, order, True
        fresh = self._start(point, order)
        if self._slots is None:
            self._slots = fresh.take(pad_rows(torch.arange(len(point)), len(self._live)))
        else:
            self._slots.put(rows, fresh)

    def _next_items(self, wanted: int) -> tuple[Tensor, Tensor]:
        """Take up to ``wanted`` items from the queue, passing over those whose point an earlier item has broken."""
        n = len(self._points.x)
        taken = torch.zeros(0, dtype=torch.int64)
        while len(taken) < wanted and self._cursor < self.items:
            queued = torch.arange(self._cursor, min(self._cursor + n, self.items))
            needed = queued[queued // n < self.findings.order[queued % n]][: wanted - len(taken)]
            taken = torch.cat((taken, needed))
            self._cursor = int(taken[-1] if len(taken) == wanted else queued[-1]) + 1
        return taken % n, taken // n

    def _even_width(self) -> int:
        """Return the width of the batch: the full one, or one that spares it a last round nearly empty."""
        full = self._classifier.width
        if self._classifier.has_fixed_sizes or self.items >= _MANY_ROUNDS * full:
            return self._classifier.padded(min(self.items, full))
        rounds = max(round(self.items / full), 1)
        return max(-(-self.items // rounds), MIN_ROWS)

    def _shrink(self, live: int) -> None:
        """Once the queue is empty, let the batch get smaller with the live slots."""
        size = self._classifier.padded(live)
        if self._slots is None or self._cursor < self.items or size > _SHRINK_BELOW * len(self._live):
            return
        rows = torch.nonzero(self._live).flatten()
        idle = torch.nonzero(~self._live).flatten()
        rows = torch.cat((rows, idle[: size - live]))
        self._slots = self._slots.take(rows)
        self._slot_point, self._slot_order = self._slot_point[rows], self._slot_order[rows]
        self._live = self._live[rows]

    def _step(self, live: int) -> None:
        if self._slots is None:
            raise RuntimeError("no slot was ever filled")
        step = self._slots.step.cpu()
        proposal = self._attack.step(self._slots, self._classifier, live)
        claimed = torch.nonzero(proposal.broken.cpu() & self._live).flatten()
        if len(claimed):
            self._settle(claimed, proposal.x_adv[claimed], step[claimed])
        self._live &= ~proposal.done.cpu()

    def _settle(self, rows: Tensor, x_adv: Tensor, step: Tensor) -> None:
        """Have claimed examples judged, record those that hold and retire the items that can no longer win."""
        point, order = self._slot_point[rows], self._slot_order[rows]
        verdict: Judgement = judge(
            self._judge_classifier,
            self._points.x[point],
            self._points.y[point],
            x_adv,
            self._attack.norm,
            self._attack.epsilon,
        )
        findings = self.findings
        findings.over_budget += int(verdict.over_budget.sum())
        # Of several items of one point the lowest counts: it is written last.
        best: dict[int, int] = {}
        holds = torch.nonzero(verdict.broken.cpu()).flatten().tolist()
        for row in sorted(holds, key=lambda row: int(order[row]), reverse=True):
            best[int(point[row])] = row
        broken, winner = (
            torch.tensor(list(best), dtype=torch.int64),
            torch.tensor(list(best.values()), dtype=torch.int64),
        )
        earlier = order[winner] < findings.order[broken]
        broken, winner = broken[earlier], winner[earlier]
        findings.order[broken] = order[winner]
        findings.step[broken] = step[winner]
        findings.distance[broken] = verdict.distance[winner].cpu()
        findings.x_adv[broken] = x_adv[winner]
        self._live &= self._slot_order < findings.order[self._slot_point]
