"""From a model and points to a report of how it does on corrupted images. Nobody attacks here."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmark.classifier import Classifier, check_classes, check_points, frozen
from benchmark.corruption_table import CELLS, GENERATED, CorruptionCell, CorruptionTable, source_for
from benchmark.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from benchmark.datasets import load_corrupted
from benchmark.ensemble import Snapshot
from benchmark.errors import InvalidInput
from benchmark.judging import misclassified
from benchmark.pipeline import Found, device_named, hardware_of, installed_versions, laid_out, slot_width, twin_on
from benchmark.report import EvaluationReport, Interval, Points, Provenance
from benchmark.restrictions import POLICY, run_checks
from benchmark.restrictions.replay import answers_of, replay_check
from benchmark.summing_up import build_report, wilson_interval
from benchmark.threat_models import CORRUPTION_PROTOCOL, ThreatModel, neighbourhood
from benchmark.threat_models import CORRUPTIONS as NO_ATTACKER

SEED = 0
"""Of all that is drawn to corrupt an image: the same for every model, so that all are asked about the same images."""

Corrupted = Callable[[str, int], Tensor]
"""From a type and a severity to the points' corrupted images, (n, c, h, w), float32 in [0, 1]."""


@dataclass(frozen=True)
class CorruptedImages:
    """The corrupted images that all models of a data set are asked about.

    Args:
        source: their name.
        images: from a type and a severity to the points' images.
    """

    source: str
    images: Corrupted


@dataclass(frozen=True)
class CorruptionRun:
    """Settings of an evaluation on corrupted images; with equal ones, two runs are bit-identical.

    Args:
        dataset: what the points are of, where it has a name.
        width: rows of a full batch.
        device: where the model runs.
        checkpoint_sha256: hash of the model's file, for the report.
        source: name of the corrupted images.
    """

    dataset: str | None
    width: int
    device: torch.device
    checkpoint_sha256: str | None = None
    source: str = GENERATED

    @property
    def threat_model(self) -> ThreatModel:
        """How far the restrictions move an image."""
        return neighbourhood(self.dataset)


@dataclass(frozen=True)
class CorruptionProgress:
    """How far an evaluation on corrupted images is; named as the progress of attacks is.

    Args:
        attack: type of corruption at work.
        attacks_done: types before it.
        attacks: types in all.
        fraction: share of the present type's severities that are done, in [0, 1].
        points: all points.
        points_done: as many points as the share of all images that are classified comes to.
        robust_accuracy_at_most: accuracy over all cells if every image that is left is classified correctly.
        forward_passes: images sent forward so far.
    """

    attack: str
    attacks_done: int
    attacks: int
    fraction: float
    points: int
    points_done: int
    robust_accuracy_at_most: float
    forward_passes: int
    backward_passes: int = 0

    @property
    def robust_interval_at_most(self) -> Interval:
        """A 95 % interval of the bound, as wide as that of so many points."""
        return wilson_interval(round(self.points * self.robust_accuracy_at_most), self.points)


def evaluate_corruptions(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    dataset: str | None = None,
    index: Sequence[int] | None = None,
    images: Corrupted | None = None,
    source: str = GENERATED,
    batch_size: int | None = None,
    device: str = "cpu",
    progress: Callable[[CorruptionProgress], None] | None = None,
) -> EvaluationReport:
    """Check the model, classify the points under 15 corruptions at 5 severities each, and report.

    Args:
        model: from images (n, c, h, w) in [0, 1] to logits (n, classes); moved to ``device``, else left as it was.
        x: clean points, (n, c, h, w), float32 in [0, 1].
        y: labels, (n,), int64.
        dataset: what they are of, where it has a name.
        index: their positions in the data set, increasing, which decide what is drawn for each; 0 to n - 1 by default.
        images: the corrupted images of each cell, where they are not to be made here.
        source: name of these images, for the report.
        batch_size: rows of a full batch; by default 64 on a CPU, and on a GPU 512 or what of it fits into memory.
        device: where to run, such as "cuda".
        progress: called after each cell; what it raises ends the evaluation.
    Returns:
        The report; its robust accuracy is the mean accuracy over all cells.
    Raises:
        InvalidInput: an argument cannot be used.
        EvaluationFailed: the model failed.
    Source:
        Hendrycks & Dietterich 2019, arXiv:1903.12261; the score is that of Croce et al. 2021, arXiv:2010.09670.
    """
    check_points(x, y)
    place = device_named(device)
    index = tuple(range(len(x))) if index is None else tuple(index)
    if images is None:
        images, source = partial(corrupt_points, x.detach().cpu(), index), GENERATED
    x, y = laid_out(x.detach().to(place)), y.to(place)
    model.to(place)
    run = CorruptionRun(dataset, slot_width(batch_size, model, x), place, source=source)
    checks = run_checks(model, x, y, run.threat_model, twin=twin_on(dataset, place))
    return evaluate_cells(model, x, y, index, run, images, found=Found(POLICY.version, checks), progress=progress)


def corrupt_points(x: Tensor, index: Sequence[int], corruption: str, severity: int) -> Tensor:
    """Return the images of one cell, as every model is asked about them."""
    return corrupt(x, corruption, severity, index, seed=SEED)


def corrupted_images(
    dataset: str | None, x: Tensor, index: Sequence[int], data_dir: str | Path | None = None
) -> CorruptedImages:
    """Return the published corrupted images where the data set has such, and otherwise make them.

    Args:
        dataset: what the points are of, where it has a name.
        x: clean points, (n, c, h, w), on the CPU.
        index: their positions in the test split.
        data_dir: folder of the data sets, as for `benchmark.datasets.load`.
    """
    source = source_for(dataset)
    if dataset is None or source == GENERATED:
        return CorruptedImages(GENERATED, partial(corrupt_points, x, index))

    def published(corruption: str, severity: int) -> Tensor:
        return load_corrupted(dataset, corruption, severity, index=index, data_dir=data_dir).x

    return CorruptedImages(source, published)


def evaluate_cells(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    index: Sequence[int],
    run: CorruptionRun,
    images: Corrupted,
    *,
    found: Found | None = None,
    progress: Callable[[CorruptionProgress], None] | None = None,
    save: Callable[[Callable[[], Snapshot]], None] | None = None,
    resume: Snapshot | None = None,
) -> EvaluationReport:
    """Classify some points of a data set, all of it or a shard, clean and in every cell.

    Args:
        model: as for `evaluate_corruptions`, already on the run's device.
        x: clean points, (n, c, h, w), on the run's device.
        y: labels, (n,), likewise.
        index: their positions in the data set, increasing.
        run: settings.
        images: the corrupted images of each cell.
        found: what was found of the model as a whole, for the report.
        progress: called after each cell.
        save: called after each cell with a function that makes a snapshot.
        resume: a snapshot of the same run on the same points.
    """
    channels, height, width = x.shape[1:]
    judge = Classifier(model, (channels, height, width), run.width)
    flat = x.flatten(1)
    started = time.monotonic()
    with frozen(model):
        clean = judge.logits_of_all(flat)
        check_classes(clean.shape[1], y)
        first = answers_of(judge, flat, y)
        cells = _Cells(len(y), resume)
        for number in range(cells.done, len(CELLS)):
            corruption, severity = CELLS[number]
            cell = _checked(images(corruption, severity), x, corruption, severity).to(run.device)
            cells.add(~misclassified(judge.logits_of_all(cell.flatten(1)), y).cpu())
            if progress is not None:
                progress(cells.progress())
            if save is not None:
                save(partial(cells.snapshot, time.monotonic() - started))
        replay = replay_check(first, answers_of(judge, flat, y))
    found = found or Found()
    points = _verdicts(index, y, misclassified(clean, y).cpu(), cells.right)
    return build_report(
        norm=NO_ATTACKER,
        epsilon="0",
        dataset=run.dataset,
        protocol=CORRUPTION_PROTOCOL,
        attacks=(),
        policy=found.policy,
        checks=(*found.checks, replay),
        corruptions=cells.table(run.source),
        provenance=Provenance(
            checkpoint_sha256=run.checkpoint_sha256,
            seed=SEED,
            slot_width=run.width,
            threads=torch.get_num_threads(),
            layout="contiguous",
            precision="float32",
            device=run.device.type,
            hardware=hardware_of(run.device),
            versions=installed_versions("pillow", "scipy"),
            seconds=cells.seconds_before + time.monotonic() - started,
        ),
        points=points,
    )


class _Cells:
    """Which points are right in which cell, as far as the evaluation has come."""

    def __init__(self, points: int, resume: Snapshot | None) -> None:
        self.right = torch.zeros(0, points, dtype=torch.bool)
        self.seconds_before = 0.0
        if resume is not None:
            self.right = resume["right"].clone()
            self.seconds_before = float(resume["seconds"])

    @property
    def done(self) -> int:
        return len(self.right)

    def add(self, right: Tensor) -> None:
        self.right = torch.cat((self.right, right[None]))

    def snapshot(self, seconds: float) -> Snapshot:
        total = self.seconds_before + seconds
        return {"right": self.right.clone(), "seconds": torch.tensor(total, dtype=torch.float64)}

    def progress(self) -> CorruptionProgress:
        points, cells = self.right.shape[1], len(CELLS)
        corruption, _ = CELLS[self.done - 1]
        of_type, severities = divmod(self.done - 1, len(SEVERITIES))
        wrong = int((~self.right).sum())
        return CorruptionProgress(
            attack=corruption,
            attacks_done=of_type,
            attacks=len(CORRUPTIONS),
            fraction=(severities + 1) / len(SEVERITIES),
            points=points,
            points_done=points * self.done // cells,
            robust_accuracy_at_most=1 - wrong / (points * cells),
            forward_passes=points * (self.done + 1),
        )

    def table(self, source: str) -> CorruptionTable:
        counts = self.right.sum(1).tolist()
        return CorruptionTable(
            source=source,
            cells=tuple(
                CorruptionCell(corruption=corruption, severity=severity, correct=count)
                for (corruption, severity), count in zip(CELLS, counts, strict=True)
            ),
            forward_passes=self.right.shape[1] * (self.done + 1),
        )


def _checked(images: Tensor, x: Tensor, corruption: str, severity: int) -> Tensor:
    """Return a cell's images if they can be those of the points.

    Raises:
        InvalidInput: they have another shape or type, or values outside [0, 1].
    """
    sound = images.shape == x.shape and images.dtype == torch.float32
    if not (sound and bool(((images >= 0) & (images <= 1)).all())):
        raise InvalidInput.because(
            f"{corruption}, severity {severity}",
            found=f"{images.dtype} {tuple(images.shape)}, from {float(images.min())} to {float(images.max())}",
            expected=f"float32 {tuple(x.shape)}, from 0 to 1",
            remedy="give the corrupted images of the same points, in their order",
        )
    return images


def _verdicts(index: Sequence[int], y: Tensor, wrong: Tensor, right: Tensor) -> Points:
    """Return the verdict on every point; what broke it is the first cell in which it is wrong."""
    kept = right.sum(0)
    firsts = (~right).int().argmax(0).tolist()
    broken_by: list[str | None] = []
    for clean, times, first in zip(wrong.tolist(), kept.tolist(), firsts, strict=True):
        corruption, severity = CELLS[first]
        broken_by.append("clean" if clean else None if times == len(CELLS) else f"{corruption}-{severity}")
    return Points(
        index=tuple(index),
        label=tuple(y.tolist()),
        robust=tuple(by is None for by in broken_by),
        broken_by=tuple(broken_by),
        step=(None,) * len(broken_by),
        distance=tuple(0.0 if by == "clean" else None for by in broken_by),
        kept=tuple(kept.tolist()),
    )
