"""From a model and points to a report."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmark import cuda, datasets, randomness
from benchmark.classifier import MIN_ROWS, Classifier, check_points, frozen
from benchmark.ensemble import Ensemble, EvaluationProgress, Run, Snapshot
from benchmark.errors import InvalidInput
from benchmark.norms import norm_named
from benchmark.protocols import few_classes_check, protocol_named
from benchmark.report import (
    Check,
    CheckOutcome,
    EvaluationReport,
    Evidence,
    Points,
    Provenance,
    SecondAttack,
)
from benchmark.restrictions import POLICY, run_checks
from benchmark.summing_up import build_report
from benchmark.threat_models import ThreatModel, official_board

_CPU_WIDTH = 64
_STATES = 16
"""Copies of the batch that the attack with the largest state holds, with room for what a step makes."""


@dataclass(frozen=True)
class Found:
    """What was found of a model as a whole, whichever of its points are attacked.

    Args:
        policy: version of the restrictions that the checks are of; None where none was made.
        checks: the checks, the passed ones included.
        evidence: the tests for gradients that mislead.
    """

    policy: int | None = None
    checks: tuple[Check, ...] = ()
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation gives back.

    Args:
        report: the numbers and their evidence.
        x_adv: the judged adversarial example of each point, else the clean image, (n, c, h, w).
        x_second: likewise of the points of the second attack, (k, c, h, w); empty where none was run.
    """

    report: EvaluationReport
    x_adv: Tensor
    x_second: Tensor


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
    diagnostics: bool = True,
    progress: Callable[[EvaluationProgress], None] | None = None,
) -> Evaluation:
    """Check the model, test it for gradients that mislead, run the ensemble on the given points and report.

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
        diagnostics: False leaves out the tests for gradients that mislead, which take seconds; every evaluation of a
            service has them. A model that breaks a restriction is not tested, for the finding says more.
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
    x, y = laid_out(x.detach().to(place)), y.to(place)
    model.to(place)
    run = Run(threat_model, ensemble, seed, slot_width(batch_size, model, x), place)
    checks = run_checks(model, x, y, threat_model, twin=twin_on(threat_model.dataset, place))
    index = tuple(range(len(x)))
    sound = all(check.outcome is not CheckOutcome.REJECTED for check in checks)
    evidence = evidence_of(model, x, y, index, run) if diagnostics and sound else ()
    found = Found(POLICY.version, checks, evidence)
    return evaluate_points(model, x, y, index, run, found=found, progress=progress)


def evaluate_points(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    index: Sequence[int],
    run: Run,
    *,
    found: Found | None = None,
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
        found: what was found of the model as a whole, for the report.
        progress: called at the first step and the end of every attack, and several times a second between.
        save: called after every step with a function that makes a snapshot; call it to keep one.
        resume: a snapshot of the same run on the same points: the evaluation goes on exactly from there.
    """
    with frozen(model), _frozen_sources(run):
        ensemble = Ensemble(model, x, y, index, run)
        if resume is not None:
            ensemble.restore(resume)
        ensemble.work(progress, save)
        points = ensemble.verdicts(index)
        second, x_second = second_attack(model, x, y, points, run)
        after = (*ensemble.repeated_answers(), *ensemble.replay())
    found = found or Found()
    report = build_report(
        norm=run.threat_model.norm,
        epsilon=str(run.threat_model.epsilon),
        dataset=run.threat_model.dataset,
        protocol=run.protocol.label,
        attacks=ensemble.outcomes(),
        policy=found.policy,
        checks=(*found.checks, few_classes_check(ensemble.classes), *after),
        evidence=found.evidence,
        provenance=_provenance(run, ensemble),
        points=points,
        second_attack=second,
        examples_sha256=sha256_of_examples(ensemble.x_adv),
    )
    return Evaluation(report, ensemble.x_adv.view_as(x), x_second)


def second_attack(
    model: nn.Module, x: Tensor, y: Tensor, points: Points, run: Run
) -> tuple[SecondAttack | None, Tensor]:
    """Run the second attack, where there is to be one, on a sample of the points that are robust.

    Args:
        model: as for `evaluate_points`.
        x: clean points, (n, c, h, w).
        y: labels, (n,).
        points: the verdicts so far.
        run: its settings; the sample depends on its seed and on the points' places in the data set alone.
    Returns:
        What it found, and the judged example of each of its points, else the clean image, (k, c, h, w).
    """
    robust = [row for row, left in enumerate(points.robust) if left]
    if run.unannounced is None or not robust or run.unannounced.points < 1:
        return None, x[:0]
    index = torch.tensor([points.index[row] for row in robust])
    lots = randomness.item_keys(run.seed, "sample of the second attack", 0, 0, index)
    chosen = sorted(robust[place] for place in lots.argsort()[: run.unannounced.points].tolist())
    protocol = run.unannounced.protocol
    places = tuple(points.index[row] for row in chosen)
    ensemble = Ensemble(model, x[chosen], y[chosen], places, replace(run, protocol=protocol, unannounced=None))
    ensemble.work(None, None)
    verdicts = ensemble.verdicts(places)
    (outcome,) = ensemble.outcomes()
    left = sum(verdicts.robust)
    found = SecondAttack(
        protocol=protocol.label,
        outcome=outcome.model_copy(update={"robust_accuracy_after": left / len(places)}),
        index=places,
        broken=tuple(not robust for robust in verdicts.robust),
        distance=verdicts.distance,
        examples_sha256=sha256_of_examples(ensemble.x_adv),
    )
    return found, ensemble.x_adv.view_as(x[chosen])


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
    data_dir: str | Path | None = None,
    preprocessing: str | None = None,
) -> tuple[float, float]:
    """Evaluate a model on an official board's points, in one call.

    Args:
        model: from images in [0, 1] to logits.
        dataset: data set id, such as "cifar10".
        threat_model: "Linf", "L2" or "corruptions"; the board fixes epsilon.
        n_examples: number of points, the first of the board's; all by default.
        batch_size: as for `evaluate`.
        device: as for `evaluate`.
        data_dir: folder of the data sets that do not come along, as for `benchmark.datasets.load`.
        preprocessing: what is done to the images of ImageNet first, such as "BicubicRes256Crop224"; by default
            "Res256Crop224".
    Returns:
        Standard accuracy and robust accuracy, in [0, 1]; on a board of corruptions, the mean accuracy over all of them.
    """
    board = official_board(dataset, threat_model)
    n = board.points if n_examples is None else n_examples
    points = datasets.load(dataset, "test", n, data_dir=data_dir, preprocessing=preprocessing)
    if not board.attacked:
        from benchmark.corrupted import corrupted_images, evaluate_corruptions  # which evaluates in its turn

        corrupted = corrupted_images(dataset, points.x, points.index, data_dir)
        on_corruptions = evaluate_corruptions(
            model, points.x, points.y, dataset=dataset, index=points.index, images=corrupted.images,
            source=corrupted.source, batch_size=batch_size, device=device,
        )  # fmt: skip
        return on_corruptions.standard_accuracy, on_corruptions.robust_accuracy
    report = evaluate(model, points.x, points.y, board.budget, batch_size=batch_size, device=device).report
    return report.standard_accuracy, report.robust_accuracy


def evidence_of(model: nn.Module, x: Tensor, y: Tensor, index: Sequence[int], run: Run) -> tuple[Evidence, ...]:
    """Test a model for gradients that mislead, under the settings of a run."""
    from benchmark.diagnostics import run_diagnostics  # which evaluates in its turn

    return run_diagnostics(model, x, y, index, run.threat_model, seed=run.seed, width=run.width, device=run.device)


def twin_on(dataset: str | None, device: torch.device) -> tuple[Tensor, Tensor] | None:
    """Return images and labels of a data set that nobody ranks on; None where there are none."""
    twin = datasets.twin_of(dataset)
    return None if twin is None else (twin.x.to(device), twin.y.to(device))


def sha256_of_examples(x: Tensor) -> str:
    """Hash float32 values in their order, as the little-endian bytes that a safetensors file holds."""
    return hashlib.sha256(x.detach().cpu().contiguous().numpy().astype("<f4", copy=False).tobytes()).hexdigest()


def laid_out(x: Tensor) -> Tensor:
    """Return the same images, row by row in memory.

    With a single channel, or a single row or column, other strides pass for contiguous too, and take other kernels.
    """
    return x.contiguous().flatten().view(x.shape)


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
        hardware=hardware_of(run.device),
        versions=installed_versions(),
        seconds=ensemble.seconds,
    )


def hardware_of(device: torch.device) -> str:
    """Return what a device is, for the record."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"{platform.machine()} CPU, {torch.backends.cpu.get_cpu_capability()}"


def installed_versions(*more: str) -> dict[str, str]:
    """Return the versions of all that can move a number, by package; more of them where more can."""
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    for package in ("gauntlet-benchmark", "numpy", "scikit-learn", *more):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed as a package"
    return versions
