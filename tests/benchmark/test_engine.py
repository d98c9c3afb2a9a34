from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmark import randomness
from benchmark.attacks.base import Attack, Proposal, Setting, Slots
from benchmark.catalogue import CATALOGUE
from benchmark.classifier import Classifier
from benchmark.engine import Engine, Findings
from benchmark.errors import EvaluationFailed
from benchmark.judging import misclassified
from benchmark.norms import Linf, norm_named
from benchmark.protocols import STANDARD
from tests.benchmark.models import Cnn, Robust, answers, blobs, points
from tests.benchmark.runs import attack_maker, attacked, engine_of, settings

SHAPE = (1, 2, 2)
PLAIN = Setting(Linf(), 0.1, SHAPE, 2)


class Threshold(nn.Module):
    """Class 1 where the first pixel is above 0.5."""

    def forward(self, x: Tensor) -> Tensor:
        lead = x[:, 0, 0, :1] - 0.5
        return torch.cat((-lead, lead), 1)


class Scripted(Attack[Slots]):
    """Breaks points at given (point, order, step): the first pixel of point i is i / 1000 below or above 0.5."""

    name = "scripted"

    def __init__(self, when: dict[tuple[int, int], int], *, restarts: int = 1, steps: int = 10) -> None:
        super().__init__(Linf(), 0.2, SHAPE)
        self._when, self._restarts, self._steps = when, restarts, steps
        self.begun: list[int] = []

    @property
    def parameters(self) -> dict[str, int | float | str | bool]:
        return {"steps": self._steps}

    @property
    def restarts(self) -> int:
        return self._restarts

    @property
    def steps(self) -> int:
        return self._steps

    def start(self, slots: Slots) -> Slots:
        self.begun.append(len(slots.x))
        return slots

    def order(self, state: Slots) -> list[tuple[int, int]]:
        """Tell the items apart by what the engine gave them: image and key."""
        return [
            (round(1000 * (0.5 - x)), key) for x, key in zip(state.x[:, 0].tolist(), state.key.tolist(), strict=True)
        ]

    def step(self, state: Slots, classifier: Classifier, live: int) -> Proposal:
        x_adv = state.x.clone()
        for row, (point, key) in enumerate(self.order(state)):
            order = KEYS[point, key]
            if self._when.get((point, order)) == int(state.step[row]):
                x_adv[row, 0] = 0.6 + order / 1000
        logits = classifier.logits(x_adv, live)
        state.step = state.step + 1
        return Proposal(x_adv, misclassified(logits, state.y), state.step == self._steps)


def _keys(n: int, restarts: int) -> dict[tuple[int, int], int]:
    return {
        (point, int(randomness.item_keys(0, "scripted", order, 0, torch.tensor([point - 1])))): order
        for point in range(1, n + 1)
        for order in range(restarts)
    }


KEYS = _keys(100, 6)


def _scripted_points(n: int) -> tuple[Tensor, Tensor]:
    x = torch.full((n, *SHAPE), 0.5)
    x[:, 0, 0, 0] -= torch.arange(1, n + 1) / 1000
    return x, torch.zeros(n, dtype=torch.int64)


@pytest.mark.parametrize("width", [8, 9, 16, 64])
def test_passes_are_the_sum_over_items_whatever_the_width(width: int) -> None:
    """One point falls at its third step, 63 never do: exactly 3 + 63 × 10 passes."""
    x, y = _scripted_points(64)
    attack = Scripted({(1, 0): 2})
    engine = engine_of(attack, Threshold(), x, y, width=width)
    findings = engine.run()
    assert findings.broken.tolist() == [True] + [False] * 63
    assert int(findings.step[0]) == 2
    classifier = engine._classifier
    assert classifier.forward_passes == 3 + 63 * 10
    assert classifier.backward_passes == 0
    assert sum(attack.begun) == 64
    # Idle rows: while the last items drain, and at most a batch of the tail.
    assert classifier.rows_run <= classifier.forward_passes + width * 10


def test_full_batches_run_no_idle_row_but_those_of_the_last_steps() -> None:
    """63 hard points fill nine slots seven times: the easy one costs its passes and a tail for one slot."""
    x, y = _scripted_points(64)
    engine = engine_of(Scripted({(1, 0): 0}), Threshold(), x, y, width=9)
    engine.run()
    classifier = engine._classifier
    assert classifier.forward_passes == 1 + 63 * 10
    assert classifier.rows_run <= classifier.forward_passes + 9


@pytest.mark.parametrize("width", [8, 16, 64])
def test_lowest_order_wins_whatever_runs_beside_it(width: int) -> None:
    """Order 2 breaks first where items run side by side, but order 1 breaks later and wins."""
    x, y = _scripted_points(5)
    when = {(1, 1): 8, (1, 2): 1, (2, 5): 0, (3, 0): 9, (3, 1): 0, (4, 3): 4, (4, 4): 4}
    findings = engine_of(Scripted(when, restarts=6), Threshold(), x, y, width=width).run()
    assert findings.order.tolist()[:4] == [1, 5, 0, 3]
    assert findings.step.tolist()[:4] == [8, 0, 9, 4]
    assert findings.broken.tolist() == [True, True, True, True, False]
    torch.testing.assert_close(findings.x_adv[:4, 0], torch.tensor([0.601, 0.605, 0.6, 0.603]))
    assert torch.equal(findings.x_adv[4], x[4].flatten())


def test_later_items_of_a_broken_point_are_never_started() -> None:
    x, y = _scripted_points(64)
    attack = Scripted({(point, 0): 0 for point in range(1, 65)}, restarts=6)
    engine = engine_of(attack, Threshold(), x, y, width=64)
    engine.run()
    assert sum(attack.begun) == 64
    assert engine._classifier.forward_passes == 64
    assert engine.fraction == 1


def test_batch_shrinks_with_the_live_slots() -> None:
    x, y = _scripted_points(64)
    attack = Scripted({(point, 0): 0 for point in range(1, 64)}, steps=100)
    engine = engine_of(attack, Threshold(), x, y, width=64)
    sizes: list[int] = []
    engine.run(lambda engine: sizes.append(len(engine._live)))
    assert sizes == [64, *[8] * 99]
    assert engine._classifier.forward_passes == 63 + 100
    assert engine._classifier.rows_run == 64 + 99 * 8


def test_fraction_rises_to_one() -> None:
    x, y = _scripted_points(40)
    engine = engine_of(Scripted({(3, 0): 2, (9, 1): 1}, restarts=3), Threshold(), x, y, width=8)
    fractions: list[float] = []
    engine.run(lambda engine: fractions.append(engine.fraction))
    assert fractions == sorted(fractions)
    assert fractions[0] >= 0
    assert fractions[-1] == 1


def test_no_points_are_no_work() -> None:
    x, y = _scripted_points(3)
    whole = engine_of(Scripted({}), Threshold(), x, y)
    none = Engine(
        Scripted({}),
        whole._classifier,
        whole._judge_classifier,
        type(whole._points)(x.flatten(1)[:0], y[:0], torch.arange(0), torch.zeros(0, 2)),
        0,
    )
    assert len(none.run().broken) == 0
    assert none.fraction == 0


class Cheating(Attack[Slots]):
    """Claims an example at every step that is none."""

    name = "cheating"

    def __init__(self, how: str) -> None:
        super().__init__(Linf(), 0.2, SHAPE)
        self._how = how

    @property
    def parameters(self) -> dict[str, int | float | str | bool]:
        return {"how": self._how}

    @property
    def steps(self) -> int:
        return 4

    def start(self, slots: Slots) -> Slots:
        return slots

    def step(self, state: Slots, classifier: Classifier, live: int) -> Proposal:
        x_adv = state.x.clone()
        values = {"far": 0.9, "above": 1.1, "below": -0.1, "nan": torch.nan, "inf": torch.inf, "correct": 0.49}
        x_adv[:, 0] = values[self._how]
        state.step = state.step + 1
        everything = torch.ones(len(x_adv), dtype=torch.bool)
        return Proposal(x_adv, everything, state.step == 4)


@pytest.mark.parametrize(
    ("how", "refused"), [("far", 12), ("above", 12), ("below", 12), ("nan", 12), ("inf", 12), ("correct", 0)]
)
def test_attack_that_cheats_breaks_nothing(how: str, refused: int) -> None:
    x, y = _scripted_points(3)
    findings = engine_of(Cheating(how), Threshold(), x, y).run()
    assert not bool(findings.broken.any())
    assert findings.over_budget == refused
    assert torch.equal(findings.x_adv, x.flatten(1))


def _equal(one: Findings, other: Findings) -> bool:
    tensors = ("order", "step", "distance", "x_adv")
    return one.over_budget == other.over_budget and all(
        torch.equal(getattr(one, name), getattr(other, name)) for name in tensors
    )


@pytest.mark.parametrize("norm", ["Linf", "L2", "L1"])
@pytest.mark.parametrize("name", CATALOGUE)
def test_continuing_from_any_snapshot_is_bit_identical(name: str, norm: str, blob_model: nn.Module) -> None:
    x, _ = blobs(50, seed=5)
    y = answers(blob_model, x)
    make = attack_maker(name, 12)
    attack: Attack[Any] = make(Setting(norm_named(norm), {"Linf": 0.1, "L2": 0.6, "L1": 3.0}[norm], (1, 8, 8), 4))
    snapshots: list[dict[str, Tensor]] = []
    whole = engine_of(attack, blob_model, x, y, width=16)
    counts: list[int] = []

    def keep(engine: Engine) -> None:
        counts.append(1)
        # An attack of a single step is over before the seventh.
        if attack.steps == 1 or len(counts) % 7 == 3:
            snapshots.append(engine.snapshot())

    expected = whole.run(keep)
    assert len(snapshots) >= 3
    passes = (whole._classifier.forward_passes, whole._classifier.backward_passes, whole._classifier.rows_run)
    for snapshot in snapshots:
        for _ in range(2):  # Twice from each: taking one up must not wear it out.
            resumed = engine_of(attack, blob_model, x, y, width=16)
            resumed.restore(snapshot)
            assert _equal(resumed.run(), expected)
            classifier = resumed._classifier
            assert (classifier.forward_passes, classifier.backward_passes, classifier.rows_run) == passes


def test_protocol_costs_a_fully_robust_point_exactly_this() -> None:
    """Forward and backward passes of one point that nothing breaks, `standard` with 10 classes.

    The reference takes 102/101, 919/909, 1828/900 and 5003/0: each attack, target and check evaluates the clean point
    again there, and here its logits are computed once for the whole run.
    """
    shape = (1, 3, 3)
    x, _ = points(1, shape, 10)
    report = attacked(Robust(shape, 10).eval(), x, torch.tensor([0]), settings("Linf", 8 / 255, STANDARD)).report
    assert report.robust_accuracy == 1
    passes = {outcome.name: (outcome.forward_passes, outcome.backward_passes) for outcome in report.attacks}
    assert passes == {"apgd-ce": (101, 101), "apgd-t": (909, 909), "fab-t": (1800, 900), "square": (5000, 0)}
    reference = {"apgd-ce": (102, 101), "apgd-t": (919, 909), "fab-t": (1828, 900), "square": (5003, 0)}
    saved = {name: reference[name][0] - forward for name, (forward, _) in passes.items()}
    assert saved == {"apgd-ce": 1, "apgd-t": 10, "fab-t": 28, "square": 3}


class _Failing(Cnn):
    """Raises where the first image of the batch has been changed a little."""

    def forward(self, x: Tensor) -> Tensor:
        if bool((x != x.round(decimals=1)).any()):
            raise ValueError("these are not my images")
        return super().forward(x)


@pytest.mark.parametrize("name", ["apgd-ce", "fab-t", "square"])
def test_model_that_raises_on_adversarial_examples_is_never_robust(name: str) -> None:
    shape = (1, 4, 4)
    model = _Failing(shape, 3).eval()
    x = points(4, shape, 3)[0].round(decimals=1)
    engine = engine_of(attack_maker(name, 5)(Setting(Linf(), 0.03, shape, 3)), model, x, answers(model, x))
    with pytest.raises(EvaluationFailed, match="ValueError: these are not my images"):
        engine.run()


def test_model_whose_answer_changes_its_shape_fails_the_run() -> None:
    class Widening(Threshold):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return super().forward(x)[: len(x) - (self.calls > 1)]

    x, y = _scripted_points(3)
    engine = engine_of(attack_maker("square", 5)(PLAIN), Widening(), x, y)
    with pytest.raises(EvaluationFailed, match="with \\(7, 2\\)"):
        engine.run()


def test_model_that_writes_into_its_input_reaches_nobody_else() -> None:
    class InPlace(Cnn):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.sub_(0.5).mul_(2))

    class Honest(Cnn):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward((x - 0.5) * 2)

    shape = (1, 4, 4)
    x = points(6, shape, 4)[0]
    before = x.clone()
    y = answers(Honest(shape, 4).eval(), x)
    setting = Setting(Linf(), 0.3, shape, 4)
    for name in ("apgd-t", "fab-t", "square"):
        make = attack_maker(name, 8)
        found = [engine_of(make(setting), kind(shape, 4).eval(), x, y).run() for kind in (InPlace, Honest)]
        assert _equal(*found)
        assert bool(found[0].broken.any())
    assert torch.equal(x, before)


def test_items_get_the_target_of_their_order() -> None:
    """Likeliest wrong class first; every point meets every target once."""
    shape = (1, 4, 4)
    model = Cnn(shape, 5).eval()
    x = points(6, shape, 5)[0]
    y = answers(model, x)
    seen: dict[int, list[int]] = {}

    class Listening(type(attack_maker("fab-t", 2)(PLAIN))):  # type: ignore[misc]
        def start(self, slots: Slots) -> Any:
            for image, target in zip(slots.x, slots.target.tolist(), strict=True):
                point = int((x.flatten(1) == image).all(1).int().argmax())
                seen.setdefault(point, []).append(target)
            return super().start(slots)

    attack = Listening(Linf(), 1e-4, shape, iterations=2, targets=4)
    engine_of(attack, model, x, y, width=8).run()
    with torch.no_grad():
        ranking = model(x).argsort(1, descending=True)[:, 1:].tolist()
    assert [seen[point] for point in range(6)] == ranking
