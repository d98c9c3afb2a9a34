"""An evaluation run again from its report, under the settings that the report records."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import accumulate, pairwise
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor, nn

from benchmark import datasets
from benchmark.admission import admit, admit_to_corruptions
from benchmark.attacks.transfer import Transfer
from benchmark.confirmation import confirmation_check, expected_verdicts, unconfirmed
from benchmark.corrupted import (
    CorruptedImages,
    CorruptionProgress,
    CorruptionRun,
    corrupt_points,
    corrupted_images,
    evaluate_cells,
)
from benchmark.corruption_table import GENERATED, source_for
from benchmark.dataset_inventory import dataset_named
from benchmark.datasets import LabelledPoints
from benchmark.ensemble import EvaluationProgress, Run, Unannounced
from benchmark.errors import InvalidInput
from benchmark.merging import merge_reports, worst_of
from benchmark.pipeline import Evaluation, Found, device_named, evaluate_points, evidence_of, twin_on
from benchmark.protocols import protocol_named
from benchmark.recheck import recheck
from benchmark.report import PREDICTED_COST, EvaluationReport, Shard
from benchmark.restrictions import run_checks
from benchmark.restrictions.policy import policy_of_version
from benchmark.search_model import Precision
from benchmark.threat_models import ThreatModel
from benchmark.verdicts import Verdicts

_MOST_THREADS = 1024
"""More than any machine has: a report is a file, and might ask for a billion."""


def rerun(
    report: EvaluationReport,
    model: nn.Module,
    *,
    data_dir: str | Path | None = None,
    preprocessing: str | None = None,
    progress: Callable[[EvaluationProgress | CorruptionProgress], None] | None = None,
) -> EvaluationReport:
    """Run the evaluation again that the report tells of: same points, protocol, seed, device, threads and batches.

    A service's report is run shard by shard, and with the service's check of the model.

    Args:
        report: what to repeat; nothing in it is trusted.
        model: the model it is about.
        data_dir: folder of the data sets, as for `benchmark.datasets.load`.
        preprocessing: likewise; by default what the report says.
        progress: as for `evaluate`; where there are shards, each begins anew.
    Returns:
        The report of the repeated evaluation.
    Raises:
        InvalidInput: the report cannot be repeated with this installation, or on this machine.
        EvaluationFailed: the model failed during the attacks.
    """
    provenance = report.provenance
    if provenance.precision not in get_args(Precision):
        raise InvalidInput.because(
            "precision", found=provenance.precision, expected=" or ".join(get_args(Precision)),
            remedy="use the version that wrote the report",
        )  # fmt: skip
    if any(attack.name == Transfer.name for attack in report.attacks):
        raise InvalidInput.because(
            "sources", found="a report of examples made on other models", expected="attacks that need no other model",
            remedy="repeat the call that made this report: only its caller has those models",
        )  # fmt: skip
    if report.corruptions is not None:
        return _rerun_corruptions(report, model, _points(report, data_dir, preprocessing), data_dir, progress)
    points = _points(report, data_dir, preprocessing)
    shards, bounds = _blocks(report)
    runs = [_run(report, shard, first, last) for shard, (first, last) in zip(shards, bounds, strict=True)]
    with _settings(shards[0], deterministic=_admitted(report)):
        whole = _found(report, model, points, runs[0])
    pieces: list[EvaluationReport] = []
    verdicts: list[Verdicts] = []
    for shard, run, (first, last) in zip(shards, runs, bounds, strict=True):
        with _settings(shard, deterministic=_admitted(report)):
            evaluation = evaluate_points(
                model.to(run.device),
                points.x[first:last].to(run.device),
                points.y[first:last].to(run.device),
                points.index[first:last],
                run,
                found=None if provenance.shards else whole,
                progress=progress,
            )
        pieces.append(evaluation.report)
        verdicts += _judged(model, points, evaluation, run)
    found = pieces[0]
    if provenance.shards:
        expected = [file for piece in pieces for file in expected_verdicts(piece)]
        confirmation = confirmation_check(report.n_points, len(unconfirmed(expected, verdicts)))
        of_shards = [check for piece in pieces for check in piece.checks]
        checks = worst_of([*whole.checks, *of_shards, *((confirmation,) if _admitted(report) else ())])
        found = merge_reports(pieces, checks, policy=whole.policy, evidence=whole.evidence)
    return _named(found, report)


def _named(found: EvaluationReport, report: EvaluationReport) -> EvaluationReport:
    """Give a repeated report the names that its model was recorded under."""
    names = {"architecture": report.provenance.architecture, "zoo_id": report.provenance.zoo_id}
    return found.model_copy(update={"provenance": found.provenance.model_copy(update=names)})


def _rerun_corruptions(
    report: EvaluationReport,
    model: nn.Module,
    points: LabelledPoints,
    data_dir: str | Path | None,
    progress: Callable[[CorruptionProgress], None] | None,
) -> EvaluationReport:
    """Classify the corrupted images of a report again, in its shards where it has some."""
    shards, bounds = _blocks(report)
    served, in_shards = _admitted(report), report.provenance.shards is not None
    with _settings(shards[0], deterministic=served):
        whole = _found(report, model, points, _corruption_run(report, shards[0]))
    pieces = []
    for shard, (first, last) in zip(shards, bounds, strict=True):
        run, x, index = _corruption_run(report, shard), points.x[first:last], points.index[first:last]
        with _settings(shard, deterministic=served):
            piece = evaluate_cells(
                model.to(run.device), x.to(run.device), points.y[first:last].to(run.device), index, run,
                _corrupted(run, x, index, data_dir).images,
                found=None if in_shards else whole, progress=progress,
            )  # fmt: skip
        pieces.append(piece)
    if not in_shards:
        return _named(pieces[0], report)
    checks = worst_of([*whole.checks, *(check for piece in pieces for check in piece.checks)])
    return _named(merge_reports(pieces, checks, policy=whole.policy), report)


def _corrupted(run: CorruptionRun, x: Tensor, index: Sequence[int], data_dir: str | Path | None) -> CorruptedImages:
    if run.source == GENERATED:
        return CorruptedImages(GENERATED, partial(corrupt_points, x, index))
    return corrupted_images(run.dataset, x, index, data_dir)


def _corruption_run(report: EvaluationReport, shard: Shard) -> CorruptionRun:
    _require_threads(shard)
    source = report.corruptions.source if report.corruptions else GENERATED
    known = (GENERATED, source_for(report.dataset))
    if source not in known:
        raise InvalidInput.because(
            "corruptions.source", found=source, expected=known[1],
            remedy="repeat the call of evaluate_corruptions() that made this report, or use the version that did",
        )  # fmt: skip
    return CorruptionRun(
        report.dataset,
        report.provenance.slot_width,
        device_named(shard.device),
        checkpoint_sha256=report.provenance.checkpoint_sha256,
        source=source,
    )


def _judged(model: nn.Module, points: LabelledPoints, evaluation: Evaluation, run: Run) -> Iterator[Verdicts]:
    """Judge the examples of a shard again, as a service does in a process of its own."""
    places = {index: row for row, index in enumerate(points.index)}
    files = (evaluation.x_adv, evaluation.x_second)
    for x_adv, (index, _) in zip(files, expected_verdicts(evaluation.report), strict=False):
        rows = [places[point] for point in index]
        yield recheck(
            model, points.x[rows], points.y[rows], x_adv.cpu(), index, run.threat_model,
            width=run.width, device=run.device.type,
        )  # fmt: skip


def _blocks(report: EvaluationReport) -> tuple[tuple[Shard, ...], list[tuple[int, int]]]:
    """Return the pieces in which a report was made, and where each begins and ends among the points."""
    shards = report.provenance.shards or (_whole(report),)
    return shards, list(pairwise(accumulate((shard.points for shard in shards), initial=0)))


def _whole(report: EvaluationReport) -> Shard:
    """Return the one piece in which a report without shards was made."""
    provenance = report.provenance
    return Shard(
        points=report.n_points,
        threads=provenance.threads,
        layout=provenance.layout,
        device=provenance.device,
        hardware=provenance.hardware,
        versions=provenance.versions,
    )


def _require_threads(shard: Shard) -> None:
    if not 0 < shard.threads <= _MOST_THREADS:
        raise InvalidInput.because(
            "threads", found=shard.threads, expected=f"1 to {_MOST_THREADS}", remedy="check where the report comes from"
        )


def _run(report: EvaluationReport, shard: Shard, first: int, last: int) -> Run:
    _require_threads(shard)
    return Run(
        threat_model=ThreatModel(report.norm, report.epsilon, report.dataset),
        protocol=protocol_named(report.protocol),
        seed=report.provenance.seed,
        width=report.provenance.slot_width,
        device=device_named(shard.device),
        checkpoint_sha256=report.provenance.checkpoint_sha256,
        unannounced=_unannounced(report, report.points.index[first:last]),
    )


def _unannounced(report: EvaluationReport, index: Sequence[int]) -> Unannounced | None:
    """Return the second attack with as many points as it had among these: the lots choose the same again."""
    second = report.second_attack
    if second is None:
        return None
    return Unannounced(protocol_named(second.protocol), len(set(second.index) & set(index)))


def _points(report: EvaluationReport, data_dir: str | Path | None, preprocessing: str | None) -> LabelledPoints:
    """Return the report's points, whichever of the data set they are."""
    if report.dataset is None:
        raise InvalidInput.because(
            "dataset", found="none", expected="a data set by name",
            remedy="repeat the call of evaluate() that made this report: only its caller has the points",
        )  # fmt: skip
    preprocessing = preprocessing or report.provenance.preprocessing
    size = dataset_named(report.dataset).splits.get("test", 0)
    beyond = [index for index in report.points.index if index >= size]
    if beyond:
        raise InvalidInput.because(
            "points", found=f"point {beyond[0]}", expected=f"points of {report.dataset}, which has {size}",
            remedy="check that the report belongs to this data set",
        )  # fmt: skip
    points = datasets.load(
        report.dataset, "test", index=report.points.index, data_dir=data_dir, preprocessing=preprocessing
    )
    if tuple(points.y.tolist()) != report.points.label:
        raise InvalidInput.because(
            "points", found="other labels than the data set's", expected=f"the labels of {report.dataset}",
            remedy="check that the report belongs to this data set",
        )  # fmt: skip
    return points


def _admitted(report: EvaluationReport) -> bool:
    """Tell whether the report bears the check that a service makes of every model."""
    return any(check.code == PREDICTED_COST for check in report.checks)


def _found(report: EvaluationReport, model: nn.Module, points: LabelledPoints, run: Run | CorruptionRun) -> Found:
    """Look again for what the report bears: as a service, as `evaluate` does, or for nothing where it has bare points.

    Raises:
        InvalidInput: the restrictions of the report's version cannot be checked any more.
    """
    codes = {check.code: check for check in report.checks}
    model.to(run.device)
    points = LabelledPoints(points.x.to(run.device), points.y.to(run.device), points.index)
    if "zero_gradient" not in codes:
        return Found()
    policy = policy_of_version(report.policy)
    if _admitted(report):
        claim = codes.get("standard_accuracy")
        claimed = claim.threshold if claim else None
        if isinstance(run, CorruptionRun):
            return admit_to_corruptions(model, points, run, claimed, policy=policy)
        return admit(model, points, run, claimed, policy=policy)
    twin = twin_on(report.dataset, run.device)
    checks = run_checks(model, points.x, points.y, run.threat_model, twin=twin, policy=policy)
    if not report.evidence or isinstance(run, CorruptionRun):
        return Found(policy.version, checks)
    return Found(policy.version, checks, evidence_of(model, points.x, points.y, points.index, run))


@contextmanager
def _settings(shard: Shard, *, deterministic: bool) -> Iterator[None]:
    """Compute with a shard's threads, and as a service's worker does where it was one."""
    threads, before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(shard.threads)
    torch.use_deterministic_algorithms(deterministic or before)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(before)
