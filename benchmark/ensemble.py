"""The attacks of a run in sequence, each on the points that those before it left robust."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmark import cuda
from benchmark.attacks.base import Attack, Setting, Source
from benchmark.classifier import MIN_ROWS, Classifier, check_classes
from benchmark.engine import Engine, PointSet
from benchmark.judging import misclassified
from benchmark.norms import norm_named
from benchmark.protocols import Protocol, mean_accuracy_check
from benchmark.report import AttackOutcome, Check, Interval, Points
from benchmark.restrictions.replay import Answers, answers_of, replay_check
from benchmark.search_model import SearchModel, search_model
from benchmark.summing_up import wilson_interval
from benchmark.threat_models import ThreatModel

_ROBUST, _CLEAN = -1, -2
_TELL_EVERY_S = 0.1


@dataclass(frozen=True)
class EvaluationProgress:
    """How far an evaluation is.

    Args:
        attack: name of the attack that runs.
        attacks_done: attacks before it.
        attacks: attacks of the ensemble.
        fraction: share of the present attack's items that are done, in [0, 1].
        points: all points.
        points_done: points whose verdict stands: misclassified or broken.
        robust_accuracy_at_most: share of points not broken so far.
        forward_passes: images sent forward so far by all attacks, those of earlier attempts included.
        backward_passes: likewise, backward.
    """

    attack: str
    attacks_done: int
    attacks: int
    fraction: float
    points: int
    points_done: int
    robust_accuracy_at_most: float
    forward_passes: int
    backward_passes: int

    @property
    def robust_interval_at_most(self) -> Interval:
        """The 95 % Wilson interval of the bound; like the bound, it only falls."""
        return wilson_interval(self.points - self.points_done, self.points)


Snapshot = dict[str, Tensor]


@dataclass(frozen=True)
class Unannounced:
    """An attack that nobody knows before the run has ended.

    Args:
        protocol: of one attack.
        points: most points that it is run on.
    """

    protocol: Protocol
    points: int


@dataclass(frozen=True)
class Run:
    """Settings of one run; with equal ones, two runs are bit-identical.

    Args:
        threat_model: what the attacker may do.
        protocol: which attacks run.
        seed: of all random draws.
        width: rows of a full batch.
        device: where the model runs.
        checkpoint_sha256: hash of the model's file, for the report.
        unannounced: a second attack on a sample of what the protocol leaves; None for none.
        sources: other models, for attacks that try on this one what was made on those; moved to the device and held
            frozen during a run, else left as they were.
    """

    threat_model: ThreatModel
    protocol: Protocol
    seed: int
    width: int
    device: torch.device
    checkpoint_sha256: str | None = None
    unannounced: Unannounced | None = None
    sources: tuple[Source, ...] = ()


class Ensemble:
    """The attacks of a run in sequence, each on the survivors, with everything needed to stop and go on."""

    def __init__(self, model: nn.Module, x: Tensor, y: Tensor, index: Sequence[int], run: Run) -> None:
        run.protocol.check_norm(run.threat_model.norm)
        channels, height, width = x.shape[1:]
        shape = (channels, height, width)
        norm, epsilon = norm_named(run.threat_model.norm), run.threat_model.radius
        self._model, self._run, self._shape = model, run, shape
        self._x, self._y = x.detach().flatten(1), y
        self._index = torch.tensor(index, dtype=torch.int64)
        self._judge = Classifier(model, shape, run.width, run.protocol.passes)
        self._clean_logits = self._judge.logits_of_all(self._x)
        self.classes = self._clean_logits.shape[1]
        check_classes(self.classes, y)
        self._first_answers = self._answers()
        self.search = self._search_model(x)
        setting = Setting(norm, epsilon, shape, self.classes, run.sources)
        self._attacks: tuple[Attack[Any], ...] = run.protocol.attacks(setting)
        n = len(x)
        wrong = misclassified(self._clean_logits, y).cpu()
        self.x_adv = self._x.clone()
        self._broken_by = torch.where(wrong, _CLEAN, _ROBUST)
        self._step = torch.zeros(n, dtype=torch.int64)
        self._distance = torch.zeros(n, dtype=torch.float64)
        # One row per finished attack: attacked, broken, over budget, forward and backward passes; and its seconds.
        self._counts = torch.zeros(0, 5, dtype=torch.int64)
        self._seconds = torch.zeros(0, dtype=torch.float64)
        self._engine_state: Snapshot | None = None
        self._seconds_before = 0.0

    def _search_model(self, x: Tensor) -> SearchModel:
        """Return what the attacks run: a model that draws at random is left alone, for no two answers are equal."""
        if self._run.protocol.passes > 1:
            return SearchModel.of(self._model)
        rows = slice(0, self._run.width)
        return search_model(self._model, x[rows], self._clean_logits[rows], self._run.protocol.precision)

    def _searcher(self) -> Classifier:
        model = self.search.model
        sizes: tuple[int, ...] = ()
        if self._run.device.type == "cuda" and self._run.protocol.passes == 1:
            sizes = cuda.widths_below(self._run.width, MIN_ROWS)
            model = cuda.Captured(model, sizes)
        return Classifier(
            model, self._shape, self._run.width,
            memory_format=self.search.memory_format, search=True, sizes=sizes, classes=self.classes,
        )  # fmt: skip

    def work(
        self,
        progress: Callable[[EvaluationProgress], None] | None,
        save: Callable[[Callable[[], Snapshot]], None] | None,
    ) -> None:
        """Run the attacks that are not done yet."""
        for number in range(len(self._counts), len(self._attacks)):
            attack = self._attacks[number]
            rows = torch.nonzero(self._broken_by == _ROBUST).flatten()
            classifier = self._searcher()
            points = PointSet(self._x[rows], self._y[rows], self._index[rows], self._clean_logits[rows])
            engine = Engine(attack, classifier, self._judge, points, self._run.seed)
            if self._engine_state is not None:
                engine.restore(self._engine_state)
                self._engine_state = None
            started = time.monotonic() - self._seconds_before
            self._seconds_before = 0.0

            told_at = float("-inf")

            def after_step(
                engine: Engine, number: int = number, started: float = started, classifier: Classifier = classifier
            ) -> None:
                nonlocal told_at
                if progress is not None and time.monotonic() - told_at >= _TELL_EVERY_S:
                    told_at = time.monotonic()
                    progress(self._progress(number, engine, classifier))
                if save is not None:
                    save(lambda: self._snapshot(engine, time.monotonic() - started))

            engine.run(after_step)
            if progress is not None:
                progress(self._progress(number, engine, classifier))
            self._record(number, rows, engine, classifier, time.monotonic() - started)

    def _record(self, number: int, rows: Tensor, engine: Engine, classifier: Classifier, seconds: float) -> None:
        findings = engine.findings
        broken = rows[findings.broken]
        self._broken_by[broken] = number
        self._step[broken] = findings.step[findings.broken]
        self._distance[broken] = findings.distance[findings.broken]
        self.x_adv[broken] = findings.x_adv[findings.broken]
        counts = (
            len(rows),
            len(broken),
            findings.over_budget,
            classifier.forward_passes,
            classifier.backward_passes,
        )
        self._counts = torch.cat((self._counts, torch.tensor([counts])))
        self._seconds = torch.cat((self._seconds, torch.tensor([seconds], dtype=torch.float64)))

    def _snapshot(self, engine: Engine, seconds: float) -> Snapshot:
        own = {
            "x_adv": self.x_adv,
            "broken_by": self._broken_by,
            "step": self._step,
            "distance": self._distance,
            "counts": self._counts,
            "seconds": self._seconds,
        }
        state = {name: value.clone() for name, value in own.items()}
        state["attack_seconds"] = torch.tensor(seconds, dtype=torch.float64)
        return state | {f"engine.{name}": value for name, value in engine.snapshot().items()}

    def restore(self, state: Snapshot) -> None:
        """Take up a snapshot of the same run on the same points; the snapshot itself is left alone."""
        state = {name: value.clone() for name, value in state.items()}
        self.x_adv = state["x_adv"].to(self._x.device)
        self._broken_by, self._step, self._distance = state["broken_by"], state["step"], state["distance"]
        self._counts, self._seconds = state["counts"], state["seconds"]
        self._seconds_before = float(state["attack_seconds"])
        prefix = "engine."
        self._engine_state = {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}

    def _progress(self, number: int, engine: Engine, classifier: Classifier) -> EvaluationProgress:
        points = len(self._index)
        robust = int((self._broken_by == _ROBUST).sum()) - int(engine.findings.broken.sum())
        forward, backward = self._counts[:, 3:].sum(0).tolist()
        return EvaluationProgress(
            attack=self._attacks[number].name,
            attacks_done=number,
            attacks=len(self._attacks),
            fraction=engine.fraction,
            points=points,
            points_done=points - robust,
            robust_accuracy_at_most=robust / points,
            forward_passes=forward + classifier.forward_passes,
            backward_passes=backward + classifier.backward_passes,
        )

    @property
    def seconds(self) -> float:
        """Wall time of the finished attacks, those of earlier attempts included."""
        return float(self._seconds.sum())

    def outcomes(self) -> list[AttackOutcome]:
        """Return what each attack did; the report derives the accuracy after it."""
        return [
            AttackOutcome(
                name=attack.name,
                parameters=attack.parameters,
                seed=self._run.seed,
                attacked=attacked,
                broken=broken,
                over_budget=over_budget,
                robust_accuracy_after=0.0,
                forward_passes=forward,
                backward_passes=backward,
                seconds=seconds,
            )
            for attack, (attacked, broken, over_budget, forward, backward), seconds in zip(
                self._attacks, self._counts.tolist(), self._seconds.tolist(), strict=True
            )
        ]

    def repeated_answers(self) -> tuple[Check, ...]:
        """Ask the model again for the final examples, where the protocol is for models that draw at random."""
        passes = self._run.protocol.passes
        if passes == 1:
            return ()
        classifier = Classifier(self._model, self._shape, self._run.width, classes=self.classes)
        wrong = [misclassified(classifier.logits_of_all(self.x_adv), self._y) for _ in range(passes)]
        return (mean_accuracy_check([1 - float(one.double().mean()) for one in wrong]),)

    def replay(self) -> tuple[Check, ...]:
        """Ask the model again for the first batch, unless the protocol is for models that draw at random."""
        if self._first_answers is None:
            return ()
        again = self._answers()
        return () if again is None else (replay_check(self._first_answers, again),)

    def _answers(self) -> Answers | None:
        if self._run.protocol.passes > 1:
            return None
        return answers_of(self._judge, self._x, self._y)

    def verdicts(self, index: Sequence[int]) -> Points:
        """Return the verdict on every point."""
        names = {_ROBUST: None, _CLEAN: "clean"} | {i: attack.name for i, attack in enumerate(self._attacks)}
        broken_by = [names[value] for value in self._broken_by.tolist()]
        attacked = [value >= 0 for value in self._broken_by.tolist()]
        return Points(
            index=tuple(index),
            label=tuple(self._y.tolist()),
            robust=tuple(by is None for by in broken_by),
            broken_by=tuple(broken_by),
            step=tuple(step if by else None for step, by in zip(self._step.tolist(), attacked, strict=True)),
            distance=tuple(
                distance if by is not None else None
                for distance, by in zip(self._distance.tolist(), broken_by, strict=True)
            ),
        )
