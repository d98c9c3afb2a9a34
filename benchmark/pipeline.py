"""From a model and points to a report."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import torch
from torch import Tensor, nn

from benchmark import cuda, datasets
from benchmark.classifier import MIN_ROWS, Classifier, check_points, frozen
from benchmark.ensemble import Ensemble, EvaluationProgress, Run, Snapshot
from benchmark.errors import InvalidInput
from benchmark.norms import norm_named
from benchmark.protocols import few_classes_check, protocol_named
from benchmark.report import Check, EvaluationReport, Provenance, build_report
from benchmark.restrictions import run_checks
from benchmark.threat_models import ThreatModel, official_board

_CPU_WIDTH = 64
_STATES = 16
"""Copies of the batch that the attack with the largest state holds, with room for what a step makes."""


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation gives back.

    Args:
        report: the numbers and their evidence.
        x_adv: the judged adversarial example of each point, else the clean image, (n, c, h, w).
    """

    report: EvaluationReport
    x_adv: Tensor


def evaluate(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat_model: ThreatModel,
    *,
    protocol: str = "standard",
    seed: int = 0,
    batch_size: int | None = None,
    device: str = "cpu",
    precision: str = "float32",
    progress: Callable[[EvaluationProgress], None] | None = None,
) -> Evaluation:
    """Check the model, run the ensemble on the given points and report.

    Args:
        model: from images (n, c, h, w) in [0, 1] to logits (n, classes); moved to ``device``, else left as it was.
        x: clean points, (n, c, h, w), float32 in [0, 1].
        y: labels, (n,), int64.
        threat_model: norm and budget of the attacker.
        protocol: name of the ensemble: "standard", "plus", "rand", "mixed", "follow-up", or attacks joined by "+", such
            as "apgd-ce+square(queries=1000)". A model that draws at random wants "rand"; its draws are its own, so such
            reports are not bit-identical, and the finding ``randomized`` is expected.
        seed: of all random draws; every draw belongs to a point.
        batch_size: rows of a full batch, raised to 8 where it is less; by default 64 on a CPU, and on a GPU 512 or what
            of it fits into memory.
        device: where to run, such as "cuda".
        precision: "float32", the only precision that ranks.
        progress: called now and then; what it raises ends the evaluation.
    Raises:
        InvalidInput: an argument cannot be used.
        UnsupportedNorm: the ensemble is not defined for the threat model's norm.
        EvaluationFailed: the model failed during the attacks.
    """
    if precision != "float32":
        raise InvalidInput.because(
            "precision",
            found=precision,
            expected="float32",
            remedy='leave it out: only float32 ranks; for a preview choose protocol="mixed"',
        )
    check_points(x, y)
    place = device_named(device)
    ensemble = protocol_named(protocol)
    ensemble.check_norm(norm_named(threat_model.norm).name)
    x, y = x.detach().to(place).contiguous(), y.to(place)
    model.to(place)
    run = Run(threat_model, ensemble, seed, slot_width(batch_size, model, x), place)
    checks = run_checks(model, x, y, threat_model)
    return evaluate_points(model, x, y, tuple(range(len(x))), run, checks=checks, progress=progress)


def evaluate_points(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    index: Sequence[int],
    run: Run,
    *,
    checks: Sequence[Check] = (),
    progress: Callable[[EvaluationProgress], None] | None = None,
    save: Callable[[Callable[[], Snapshot]], None] | None = None,
    resume: Snapshot | None = None,
) -> Evaluation:
    """Run the ensemble on some points of a data set: all of it, or a shard.

    Args:
        model: as for `evaluate`, already on the run's device.
        x: clean points, (n, c, h, w).
        y: labels, (n,).
        index: their positions in the data set, increasing.
        run: settings.
        checks: what the check of the model found, for the report.
        progress: called at the first step and the end of every attack, and several times a second between.
        save: called after every step with a function that makes a snapshot; call it to keep one.
        resume: a snapshot of the same run on the same points: the evaluation goes on exactly from there.
    """
    with frozen(model), _frozen_sources(run):
        ensemble = Ensemble(model, x, y, index, run)
        if resume is not None:
            ensemble.restore(resume)
        ensemble.work(progress, save)
        repeated = ensemble.repeated_answers()
    report = build_report(
        norm=run.threat_model.norm,
        epsilon=str(run.threat_model.epsilon),
        dataset=run.threat_model.dataset,
        protocol=run.protocol.label,
        attacks=ensemble.outcomes(),
        checks=(*checks, few_classes_check(ensemble.classes), *repeated),
        provenance=_provenance(run, ensemble),
        points=ensemble.verdicts(index),
        examples_sha256=_sha256_of(ensemble.x_adv),
    )
    return Evaluation(report, ensemble.x_adv.view_as(x))


@contextmanager
def _frozen_sources(run: Run) -> Iterator[None]:
    """Hold the other models of a run on its device and frozen, as the model under attack is."""
    with ExitStack() as held:
        for source in run.sources:
            held.enter_context(frozen(source.model.to(run.device)))
        yield


def benchmark(
    model: nn.Module,
    *,
    dataset: str = "cifar10",
    threat_model: str = "Linf",
    n_examples: int | None = None,
    batch_size: int | None = None,
    device: str = "cpu",
    data_dir: str | None = None,
) -> tuple[float, float]:
    """Evaluate a model on an official board's points, in one call.

    Args:
        model: from images in [0, 1] to logits.
        dataset: data set id, such as "cifar10".
        threat_model: "Linf" or "L2"; the board fixes epsilon.
        n_examples: number of points, the first of the board's; all by default.
        batch_size: as for `evaluate`.
        device: as for `evaluate`.
        data_dir: folder of data sets that do not come with this package.
    Returns:
        Standard accuracy and robust accuracy, in [0, 1].
    """
    board = official_board(dataset, threat_model)
    points = datasets.load(dataset, "test", board.points if n_examples is None else n_examples)
    report = evaluate(model, points.x, points.y, board.budget, batch_size=batch_size, device=device).report
    return report.standard_accuracy, report.robust_accuracy


def _sha256_of(x: Tensor) -> str:
    """Hash float32 values in their order, as the little-endian bytes that a safetensors file holds."""
    return hashlib.sha256(x.detach().cpu().contiguous().numpy().astype("<f4", copy=False).tobytes()).hexdigest()


def device_named(name: str) -> torch.device:
    """Return the device of that name.

    Raises:
        InvalidInput: this machine has none, or evaluations do not run on its kind.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda") or (device.type == "cuda" and not torch.cuda.is_available()):
        raise InvalidInput.because(
            "device", found=name, expected='"cpu", or "cuda" where there is a GPU', remedy='use device="cpu"'
        )
    return device


def slot_width(batch_size: int | None, model: nn.Module, x: Tensor) -> int:
    """Return the rows of a full batch.

    Args:
        batch_size: what was asked for, if anything.
        model: on the device of ``x``.
        x: the points, (n, c, h, w).
    Raises:
        InvalidInput: what was asked for is no size.
        EvaluationFailed: the model does not fit into the device's memory.
    """
    if batch_size is None:
        return _CPU_WIDTH if x.device.type == "cpu" else _width_on_cuda(model, x)
    if batch_size < 1:
        raise InvalidInput.because(
            "batch_size", found=batch_size, expected="a positive number", remedy="leave it out for the default"
        )
    return max(batch_size, MIN_ROWS)


def _width_on_cuda(model: nn.Module, x: Tensor) -> int:
    """Return the width that fits beside another copy of the model and the largest state of an attack."""
    channels, height, width = x.shape[1:]

    def trial(rows: int) -> None:
        images = x.flatten(1).repeat(-(-rows // len(x)), 1)[:rows]
        states = images.repeat(_STATES, 1)
        classifier = Classifier(model, (channels, height, width), rows, search=True)
        classifier.gradient(images, lambda logits: logits.logsumexp(1))
        del states

    with frozen(model):
        return cuda.fitting_width(trial, least=MIN_ROWS)


def _provenance(run: Run, ensemble: Ensemble) -> Provenance:
    return Provenance(
        checkpoint_sha256=run.checkpoint_sha256,
        seed=run.seed,
        slot_width=run.width,
        threads=torch.get_num_threads(),
        layout=ensemble.search.layout,
        precision=ensemble.search.precision,
        device=run.device.type,
        hardware=_hardware(run.device),
        versions=_versions(),
        seconds=ensemble.seconds,
    )


def _hardware(device: torch.device) -> str:
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"{platform.machine()} CPU, {torch.backends.cpu.get_cpu_capability()}"


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    for package in ("gauntlet-benchmark", "numpy", "scikit-learn"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed as a package"
    return versions
