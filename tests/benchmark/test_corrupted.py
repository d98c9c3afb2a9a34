"""Evaluations on corrupted images: what is counted, and that shards, resuming and repeating change nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from benchmark import benchmark, evaluate_corruptions
from benchmark.admission import admit_to_corruptions
from benchmark.corrupted import SEED, CorruptionProgress, CorruptionRun, corrupt_points, evaluate_cells
from benchmark.corruption_table import CELLS, GENERATED
from benchmark.corruptions import corrupt
from benchmark.datasets import LabelledPoints, load
from benchmark.ensemble import Snapshot
from benchmark.errors import EvaluationFailed, InvalidInput
from benchmark.merging import merge_reports
from benchmark.report import CheckOutcome, EvaluationReport
from benchmark.rerun import rerun
from model_zoo import load_model

POINTS = 24


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return load_model("Digits_Standard", dataset="digits", threat_model="Linf")


@pytest.fixture(scope="module")
def points() -> LabelledPoints:
    return load("digits", "test", POINTS)


@pytest.fixture(scope="module")
def whole(model: nn.Module, points: LabelledPoints) -> EvaluationReport:
    return run_on(model, points)


def a_run(**changes: object) -> CorruptionRun:
    return CorruptionRun("digits", 64, torch.device("cpu"), **changes)  # type: ignore[arg-type]


def run_on(model: nn.Module, points: LabelledPoints, rows: slice = slice(None), **more: object) -> EvaluationReport:
    x, y, index = points.x[rows], points.y[rows], points.index[rows]
    return evaluate_cells(model, x, y, index, a_run(), partial(corrupt_points, x, index), **more)  # type: ignore[arg-type]


def test_every_cell_is_what_a_loop_over_all_images_finds(
    model: nn.Module, points: LabelledPoints, whole: EvaluationReport
) -> None:
    right = []
    for corruption, severity in CELLS:
        images = corrupt(points.x, corruption, severity, points.index, seed=SEED)
        with torch.no_grad():
            right.append(model(images).argmax(1) == points.y)
    counted = torch.stack(right)
    assert whole.corruptions is not None
    assert [cell.correct for cell in whole.corruptions.cells] == counted.sum(1).tolist()
    assert whole.corruptions.places == CELLS
    assert whole.points.kept == tuple(counted.sum(0).tolist())
    assert whole.robust_accuracy == pytest.approx(counted.double().mean().item())
    assert whole.corruptions.forward_passes == POINTS * (len(CELLS) + 1)
    assert (whole.corruptions.source, whole.provenance.seed) == (GENERATED, SEED)


def test_what_broke_a_point_is_the_first_cell_that_did(
    model: nn.Module, points: LabelledPoints, whole: EvaluationReport
) -> None:
    for place, by in enumerate(whole.points.broken_by):
        if by is None or by == "clean":
            continue
        rows = slice(place, place + 1)
        for corruption, severity in CELLS:
            images = corrupt(points.x[rows], corruption, severity, points.index[rows], seed=SEED)
            with torch.no_grad():
                wrong = bool(model(images).argmax(1) != points.y[rows])
            assert wrong == (by == f"{corruption}-{severity}")
            if wrong:
                break


def test_shards_merge_to_the_whole(model: nn.Module, points: LabelledPoints, whole: EvaluationReport) -> None:
    merged = merge_reports([run_on(model, points, slice(10, None)), run_on(model, points, slice(10))], whole.checks)
    assert merged.points == whole.points
    assert merged.classwise == whole.classwise
    assert merged.robust_interval == whole.robust_interval
    assert merged.corruptions is not None
    assert whole.corruptions is not None
    assert merged.corruptions.cells == whole.corruptions.cells


@pytest.mark.parametrize("stop_at", [1, 40, 75])
def test_an_evaluation_that_was_interrupted_goes_on_where_it_was(
    model: nn.Module, points: LabelledPoints, whole: EvaluationReport, stop_at: int
) -> None:
    kept: list[Snapshot] = []

    class Stop(Exception):
        pass

    def save(make: Callable[[], Snapshot]) -> None:
        kept.append(make())
        if len(kept) == stop_at:
            raise Stop

    with pytest.raises(Stop):
        run_on(model, points, save=save)
    told: list[CorruptionProgress] = []
    again = run_on(model, points, resume=kept[-1], progress=told.append)
    assert again.results_sha256() == whole.results_sha256()
    assert len(told) == len(CELLS) - stop_at


def test_progress_only_ever_lowers_its_bound_to_the_result(
    model: nn.Module, points: LabelledPoints, whole: EvaluationReport
) -> None:
    told: list[CorruptionProgress] = []
    run_on(model, points, progress=told.append)
    bounds = [one.robust_accuracy_at_most for one in told]
    done = [one.attacks_done + one.fraction for one in told]
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[-1] == pytest.approx(whole.robust_accuracy)
    assert done == sorted(set(done))
    assert (done[-1], told[-1].points_done) == (15, POINTS)
    assert (told[0].attack, told[-1].attack) == ("gaussian_noise", "jpeg_compression")
    assert told[-1].robust_interval_at_most.low < whole.robust_accuracy < told[-1].robust_interval_at_most.high


def test_one_call_gives_what_robustbench_gives(model: nn.Module) -> None:
    standard, on_corruptions = benchmark(model, dataset="digits", threat_model="corruptions", n_examples=8)
    points = load("digits", "test", 8)
    report = evaluate_corruptions(model, points.x, points.y, dataset="digits", index=points.index)
    assert (standard, on_corruptions) == (report.standard_accuracy, report.robust_accuracy)
    assert all(check.outcome is CheckOutcome.PASSED for check in report.checks)


def test_the_same_points_are_corrupted_alike_wherever_they_stand(model: nn.Module, points: LabelledPoints) -> None:
    rows = [5, 11, 17]
    alone = evaluate_corruptions(model, points.x[rows], points.y[rows], index=rows)
    among = evaluate_corruptions(model, points.x, points.y)
    assert alone.points.kept is not None
    assert among.points.kept is not None
    assert alone.points.kept == tuple(among.points.kept[row] for row in rows)


def test_images_of_ones_own_take_the_place_of_those_made_here(model: nn.Module, points: LabelledPoints) -> None:
    """Images that nothing was done to: every cell has the standard accuracy."""
    report = evaluate_corruptions(model, points.x, points.y, images=lambda *_: points.x, source="nothing at all")
    assert report.corruptions is not None
    assert report.corruptions.source == "nothing at all"
    assert report.robust_accuracy == report.standard_accuracy


@pytest.mark.parametrize("spoil", [lambda x: x[:1], lambda x: x.double(), lambda x: x + 1, lambda x: x * float("nan")])
def test_images_that_cannot_be_the_points_are_refused(
    model: nn.Module, points: LabelledPoints, spoil: Callable[[Tensor], Tensor]
) -> None:
    with pytest.raises(InvalidInput, match="gaussian_noise, severity 1"):
        evaluate_corruptions(model, points.x, points.y, images=lambda *_: spoil(points.x))


class Forgetful(nn.Module):
    """Answers otherwise once it has seen many images."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.seen = inner, 0

    def forward(self, x: Tensor) -> Tensor:
        self.seen += len(x)
        logits: Tensor = self.inner(x)
        return logits if self.seen < 1_000 else logits.roll(1, 1)


def test_a_model_that_changes_its_mind_is_found_out(model: nn.Module, points: LabelledPoints) -> None:
    report = run_on(Forgetful(model), points)
    (replay,) = [check for check in report.checks if check.code == "changed_answers"]
    assert replay.outcome is CheckOutcome.REJECTED


class Broken(nn.Module):
    """Fails on anything but clean digits, which have 17 levels."""

    def forward(self, x: Tensor) -> Tensor:
        if not torch.equal(x, (x * 16).round() / 16):
            raise RuntimeError("no clean digit")
        return x.flatten(1)[:, :10]


def test_a_crash_is_no_answer(points: LabelledPoints) -> None:
    with pytest.raises(EvaluationFailed):
        run_on(Broken(), points)


@pytest.fixture(params=["alone", "served"])
def recorded(request: pytest.FixtureRequest, model: nn.Module, points: LabelledPoints) -> Iterator[EvaluationReport]:
    """A report of the library, and one in shards with a service's checks."""
    if request.param == "alone":
        yield evaluate_corruptions(model, points.x, points.y, dataset="digits", index=points.index)
        return
    torch.use_deterministic_algorithms(True)
    try:
        found = admit_to_corruptions(model, points, a_run(), 0.98)
        shards = [run_on(model, points, slice(10)), run_on(model, points, slice(10, None))]
    finally:
        torch.use_deterministic_algorithms(False)
    of_shards = [check for shard in shards for check in shard.checks]
    yield merge_reports(shards, [*found.checks, of_shards[0]], policy=found.policy)


def test_a_report_is_repeated_bit_for_bit(model: nn.Module, recorded: EvaluationReport) -> None:
    assert rerun(recorded, model).results_sha256() == recorded.results_sha256()


def test_images_that_are_not_made_here_cannot_be_made_again(model: nn.Module, points: LabelledPoints) -> None:
    report = evaluate_corruptions(
        model, points.x, points.y, dataset="digits", images=lambda *_: points.x, source="elsewhere"
    )
    with pytest.raises(InvalidInput, match="elsewhere"):
        rerun(report, model)


def test_admission_asks_nothing_that_only_an_attacker_would(model: nn.Module, points: LabelledPoints) -> None:
    found = admit_to_corruptions(model, points, a_run(), 0.5, limit_s=1e-6)
    outcomes = {check.code: check.outcome for check in found.checks}
    assert "short_attack" not in outcomes
    assert outcomes["standard_accuracy"] is CheckOutcome.FLAGGED
    assert outcomes["predicted_cost"] is CheckOutcome.REJECTED
    assert outcomes["randomized"] is CheckOutcome.PASSED
    assert found.evidence == ()
