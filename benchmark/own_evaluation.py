"""From somebody's own attack and a model to a report: its examples are judged like every other's."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from benchmark import randomness
from benchmark.classifier import Classifier, check_classes, check_points, frozen
from benchmark.ensemble import EvaluationProgress
from benchmark.judging import judge, misclassified
from benchmark.norms import norm_named
from benchmark.own_attack_checks import Seen, checks_of
from benchmark.own_attacks import OwnAttack
from benchmark.pipeline import Evaluation, hardware_of, installed_versions, sha256_of_examples
from benchmark.report import AttackOutcome, EvaluationReport, Points, Provenance
from benchmark.summing_up import build_report
from benchmark.surroundings import Passes
from benchmark.threat_models import ThreatModel

_SEEDS = 2**31
"""NumPy takes seeds below 2**32, and some generators only those that fit into a signed number."""


@dataclass(frozen=True)
class OwnRun:
    """Settings of one run of somebody's own attack.

    Args:
        attack: the function.
        threat_model: norm and budget.
        seed: of all batches; each has its own, from this one and the position of its first point.
        width: images in a batch, raised to 8 where it is less; the last batch may have fewer.
        device: where the model runs.
        checkpoint_sha256: hash of the model's file, for the report.
    """

    attack: OwnAttack
    threat_model: ThreatModel
    seed: int = 0
    width: int = 64
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    checkpoint_sha256: str | None = None


def evaluate_own(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    index: Sequence[int],
    run: OwnRun,
    *,
    progress: Callable[[EvaluationProgress], None] | None = None,
) -> Evaluation:
    """Run somebody's function on the points that a model classifies correctly, and judge what it gives back.

    The function gets a copy of the model, with frozen parameters and in eval mode, new for every batch; copies of the
    images and labels; and global random numbers of torch, NumPy and Python that were seeded for the batch. What it
    changes of them is noticed, stands in the report's checks, and reaches neither the next batch nor the judge. An
    example that is not finite, outside [0, 1] or over the budget breaks nothing and is counted as refused.

    Args:
        model: as for `evaluate`, already on the run's device.
        x: clean points, (n, c, h, w), float32 in [0, 1].
        y: labels, (n,), int64.
        index: their positions in the data set, increasing.
        run: settings.
        progress: called after every batch; what it raises ends the evaluation.
    Returns:
        The report, with the attack's label in the protocol's place.
    Raises:
        InvalidInput: an argument cannot be used.
        EvaluationFailed: the function raised, or gave back something else than one image for each; or the model failed.
    """
    check_points(x, y)
    x, y = x.detach().to(run.device).contiguous(), y.to(run.device)
    started = time.monotonic()
    with frozen(model):
        work = _Work(model, x, y, index, run)
        attacked = torch.nonzero(~work.clean).flatten()
        for rows in attacked.split(work.judge.width):
            work.attack(rows)
            if progress is not None:
                progress(work.progress(work.seen.examples / len(attacked)))
    return Evaluation(work.report(time.monotonic() - started), work.x_adv, x[:0])


class _Work:
    """What was found so far, a row for each point."""

    def __init__(self, model: nn.Module, x: Tensor, y: Tensor, index: Sequence[int], run: OwnRun) -> None:
        self.judge = Classifier(model, (x.shape[1], x.shape[2], x.shape[3]), run.width)
        self._model, self._x, self._y, self._index, self._run = model, x, y, tuple(index), run
        self.clean = misclassified(self.judge.logits_of_all(x.flatten(1)), y)
        check_classes(self.judge.classes, y)
        self.broken = torch.zeros_like(self.clean)
        self.distance = torch.zeros(len(x), dtype=torch.float64, device=x.device)
        self.x_adv = x.clone()
        self.seen, self.passes = Seen(), Passes()

    def attack(self, rows: Tensor) -> None:
        """Have the function attack a batch, and judge it."""
        run, x, y = self._run, self._x[rows], self._y[rows]
        first = torch.tensor([self._index[int(rows[0])]])
        seed = int(randomness.item_keys(run.seed, "own", 0, 0, first)) % _SEEDS
        x_adv = run.attack.examples(self._model, x, y, run.threat_model, seed, (self.passes, self.seen.changes))
        norm, epsilon = norm_named(run.threat_model.norm), run.threat_model.radius
        verdict = judge(self.judge, x.flatten(1), y, x_adv.flatten(1), norm, epsilon)
        broken = rows[verdict.broken]
        self.broken[broken] = True
        self.distance[broken] = verdict.distance[verdict.broken]
        self.x_adv[broken] = x_adv[verdict.broken]
        self.seen.add(Counter(verdict.verdicts), verdict.distance.tolist())

    def progress(self, fraction: float) -> EvaluationProgress:
        points, decided = len(self.clean), int((self.clean | self.broken).sum())
        return EvaluationProgress(
            attack=self._run.attack.name,
            attacks_done=0,
            attacks=1,
            fraction=fraction,
            points=points,
            points_done=decided,
            robust_accuracy_at_most=(points - decided) / points,
            forward_passes=self.passes.forward,
            backward_passes=self.passes.backward,
        )

    def report(self, seconds: float) -> EvaluationReport:
        run = self._run
        outcome = AttackOutcome(
            name=run.attack.name,
            parameters={"version": run.attack.version, "batch": self.judge.width},
            seed=run.seed,
            attacked=int((~self.clean).sum()),
            broken=int(self.broken.sum()),
            over_budget=self.seen.refused,
            robust_accuracy_after=0.0,
            forward_passes=self.passes.forward,
            backward_passes=self.passes.backward,
            seconds=seconds,
        )
        return build_report(
            norm=run.threat_model.norm,
            epsilon=str(run.threat_model.epsilon),
            dataset=run.threat_model.dataset,
            protocol=run.attack.label,
            attacks=[outcome],
            checks=checks_of(self.seen, run.threat_model.radius),
            provenance=self._provenance(seconds),
            points=self._points(),
            examples_sha256=sha256_of_examples(self.x_adv),
        )

    def _points(self) -> Points:
        rows = list(zip(self.clean.tolist(), self.broken.tolist(), self.distance.tolist(), strict=True))
        name = self._run.attack.name
        return Points(
            index=self._index,
            label=tuple(self._y.tolist()),
            robust=tuple(not (clean or broken) for clean, broken, _ in rows),
            broken_by=tuple("clean" if clean else name if broken else None for clean, broken, _ in rows),
            step=(None,) * len(rows),
            distance=tuple(distance if clean or broken else None for clean, broken, distance in rows),
        )

    def _provenance(self, seconds: float) -> Provenance:
        return Provenance(
            checkpoint_sha256=self._run.checkpoint_sha256,
            seed=self._run.seed,
            slot_width=self.judge.width,
            threads=torch.get_num_threads(),
            layout="contiguous",
            precision="float32",
            device=self._run.device.type,
            hardware=hardware_of(self._run.device),
            versions=installed_versions(),
            seconds=seconds,
        )
