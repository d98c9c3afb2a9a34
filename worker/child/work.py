"""Check runs and shards, inside the child."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

import benchmark
from benchmark import datasets
from benchmark.admission import admit, admit_to_corruptions
from benchmark.attacks.base import Source
from benchmark.corrupted import CorruptionProgress, CorruptionRun, corrupted_images, evaluate_cells
from benchmark.corruption_table import source_for
from benchmark.datasets import LabelledPoints
from benchmark.ensemble import EvaluationProgress, Run, Snapshot, Unannounced
from benchmark.errors import EvaluationFailed, GauntletError, InvalidCheckpoint
from benchmark.graph import Graph
from benchmark.pipeline import Found, device_named, evaluate_points, slot_width
from benchmark.protocols import protocol_named
from benchmark.recheck import recheck
from benchmark.report import Check, CheckOutcome
from benchmark.restrictions import POLICY, check_graph
from benchmark.threat_models import CORRUPTIONS, ThreatModel
from model_zoo.checkpoints.examples import check_examples_fit
from model_zoo.checkpoints.operations import is_runnable
from model_zoo.examples import load_examples
from model_zoo.loading import graph_of_submission, load_submitted
from worker.child.analyses import analyse
from worker.child.others import other_models
from worker.child.pictures import Pictures, leave_gallery, pictured
from worker.messages import (
    EXAMPLES_FILE,
    JUDGED_FILE,
    MODEL_FILE,
    REPORT_FILE,
    RESUME_FILE,
    SECOND_FILE,
    SNAPSHOT_FILE,
    VERDICTS_FILE,
    Analysed,
    Checked,
    Evaluated,
    Failed,
    Judged,
    Message,
    Progressed,
    Request,
    Saved,
)

Send = Callable[[Message], None]
_PROGRESS_EVERY_S = 0.25
_OF_THE_ATTEMPT = {
    "confinement",
    "resume",
    "save_every_s",
    "kind",
    "claimed_standard_accuracy",
    "limit_s",
    "examples",
    "gallery",
    "analysis",
    "name",
    "data_dir",
}
"""What a request says beyond what decides the result."""


def answer(request: Request, send: Send) -> None:
    """Do what is asked, and tell the outcome."""
    torch.set_num_threads(max(request.threads, 1))
    torch.use_deterministic_algorithms(True)
    try:
        graph = graph_of_submission(Path(MODEL_FILE), request.architecture)
        if request.kind == "check" and graph is not None and (broken := _breaches(graph)):
            send(Checked(checks=broken, policy=POLICY.version))
            return
        model = load_submitted(Path(MODEL_FILE), request.architecture, request.dataset)
    except InvalidCheckpoint as error:
        send(Checked(checks=(_unsound(error),)) if request.kind == "check" else _failed(error, "model"))
        return
    try:
        if request.kind == "check":
            send(_check(request, model))
        elif request.kind == "judge":
            _judge(request, model, send)
            send(Judged())
        elif request.analysis is not None:
            analyse(request, request.analysis, model, _points(request, request.indices), send)
            send(Analysed())
        else:
            send(Evaluated(second=_evaluate(request, model, send)))
    except (EvaluationFailed, InvalidCheckpoint) as error:
        send(_failed(error, "model"))
    except GauntletError as error:
        send(_failed(error, "service"))


def _breaches(graph: Graph) -> tuple[Check, ...]:
    """Return the checks of a graph that breaks a rule by what it is, so that it is never run; else nothing."""
    if is_runnable(graph):
        return ()
    checks = check_graph(graph)
    if any(check.outcome is CheckOutcome.REJECTED for check in checks):
        return checks
    return ()  # what else keeps it from running, loading it will say


def _failed(error: GauntletError, fault: str) -> Failed:
    return Failed.model_validate({"reason": error.message[:1_000], "fault": fault})


def _unsound(error: InvalidCheckpoint) -> Check:
    return Check(
        code=error.code,
        outcome=CheckOutcome.REJECTED,
        message=error.message[:2_000],
        remedy=error.detail.remedy if error.detail else "",
    )


def _points(request: Request, indices: Sequence[int]) -> LabelledPoints:
    """Return the points at these positions of the data set's test split."""
    return datasets.load(request.dataset, "test", index=indices, data_dir=request.data_dir)


def _run(request: Request, model: nn.Module, points: LabelledPoints) -> Run:
    device = device_named(request.confinement.device)
    width = _width(request, model, points, device)
    return Run(
        threat_model=ThreatModel(request.norm, request.epsilon, request.dataset),
        protocol=protocol_named(request.protocol),
        seed=request.seed,
        width=width,
        device=device,
        checkpoint_sha256=request.checkpoint_sha256,
        unannounced=_unannounced(request),
        sources=tuple(Source(name, model) for name, model in other_models(request, device)),
    )


def _width(request: Request, model: nn.Module, points: LabelledPoints, device: torch.device) -> int:
    """Return the rows of a full batch: on a CPU as asked, elsewhere what the memory holds."""
    return request.slot_width if device.type == "cpu" else slot_width(None, model.to(device), points.x.to(device))


def _unannounced(request: Request) -> Unannounced | None:
    if request.unannounced is None:
        return None
    return Unannounced(protocol_named(request.unannounced), request.unannounced_points)


def _check(request: Request, model: nn.Module) -> Checked:
    points = _points(request, request.indices)
    found = _found(request, model, points)
    return Checked(
        checks=found.checks,
        policy=found.policy,
        evidence=found.evidence,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
    )


def _found(request: Request, model: nn.Module, points: LabelledPoints) -> Found:
    """Check the model as its board wants it."""
    device = device_named(request.confinement.device)
    on_device = LabelledPoints(points.x.to(device), points.y.to(device), points.index)
    claim, limit_s = request.claimed_standard_accuracy, request.limit_s
    if request.norm == CORRUPTIONS:
        return admit_to_corruptions(
            model.to(device), on_device, _corruption_run(request, model, points), claim, limit_s
        )
    return admit(model, on_device, _run(request, model, points), claim, limit_s)


def _corruption_run(request: Request, model: nn.Module, points: LabelledPoints) -> CorruptionRun:
    device = device_named(request.confinement.device)
    return CorruptionRun(
        request.dataset,
        _width(request, model, points, device),
        device,
        checkpoint_sha256=request.checkpoint_sha256,
        source=source_for(request.dataset),
    )


def _evaluate_corruptions(request: Request, model: nn.Module, send: Send) -> None:
    """Classify the points in every cell, as every other model's are."""
    points = _points(request, request.indices)
    told = _Told(request, send)
    run = _corruption_run(request, model, points)
    report = evaluate_cells(
        model.to(run.device),
        points.x.to(run.device),
        points.y.to(run.device),
        points.index,
        run,
        corrupted_images(request.dataset, points.x, points.index, request.data_dir).images,
        progress=told.progress,
        save=told.save,
        resume=_resumed(request),
    )
    Path(REPORT_FILE).write_bytes(report.to_bytes())


def _evaluate(request: Request, model: nn.Module, send: Send) -> bool:
    """Evaluate the points; tell whether there are examples of a second attack."""
    if request.norm == CORRUPTIONS:
        _evaluate_corruptions(request, model, send)
        return False
    points = _points(request, request.indices)
    told = _Told(request, send)
    run = _run(request, model, points)
    result = evaluate_points(
        model,
        points.x.to(run.device),
        points.y.to(run.device),
        points.index,
        run,
        progress=told.progress,
        save=told.save,
        resume=_resumed(request),
    )
    Path(REPORT_FILE).write_bytes(result.report.to_bytes())
    save_file({"x_adv": result.x_adv.cpu().contiguous()}, EXAMPLES_FILE)
    if result.report.second_attack is not None:
        save_file({"x_adv": result.x_second.cpu().contiguous()}, SECOND_FILE)
    return result.report.second_attack is not None


def _judge(request: Request, model: nn.Module, send: Send) -> None:
    """Judge every file of examples; nothing but these and the model is here to judge by."""
    total = sum(map(len, request.examples))
    done = 0
    pictures: Pictures = {}
    for number, indices in enumerate(request.examples):
        path = Path(JUDGED_FILE.format(number))
        points = _points(request, indices)
        channels, height, width = points.x.shape[1:]
        check_examples_fit(path, (channels, height, width), len(indices))
        x_adv = load_examples(path)
        verdicts = recheck(
            model,
            points.x,
            points.y,
            x_adv,
            indices,
            ThreatModel(request.norm, request.epsilon, request.dataset),
            width=request.slot_width,
            device=request.confinement.device,
            progress=partial(_tell_judged, send, done, total),
            checkpoint_sha256=request.checkpoint_sha256,
        )
        Path(VERDICTS_FILE.format(number)).write_bytes(verdicts.to_bytes())
        pictures |= pictured(verdicts, points.x, x_adv, request.gallery)
        done += len(indices)
    leave_gallery(request, pictures)


def _tell_judged(send: Send, before: int, total: int, judged: int, _of: int) -> None:
    """Tell how many of all examples are judged: those of the files before, and some of this one."""
    done = before + judged
    send(
        Progressed(
            points=total,
            points_done=done,
            attack="judging",
            attacks_done=0,
            attacks=1,
            fraction=done / total,
            robust_accuracy_at_most=1.0,
            forward_passes=done,
            backward_passes=0,
        )
    )


class _Told:
    """Tells the parent how far the shard is, and leaves it snapshots: at each new attack and every so often."""

    def __init__(self, request: Request, send: Send) -> None:
        self._request, self._send = request, send
        self._told_at = float("-inf")
        self._saved_at = time.monotonic()
        self._attacks_done = self._saved_attacks_done = 0
        self._number = 0

    def progress(self, progress: EvaluationProgress | CorruptionProgress) -> None:
        new_attack = progress.attacks_done != self._attacks_done
        self._attacks_done = progress.attacks_done
        now = time.monotonic()
        if new_attack or now - self._told_at >= _PROGRESS_EVERY_S:
            self._told_at = now
            self._send(Progressed.model_validate(progress, from_attributes=True))

    def save(self, snapshot: Callable[[], Snapshot]) -> None:
        now = time.monotonic()
        if self._attacks_done == self._saved_attacks_done and now - self._saved_at < self._request.save_every_s:
            return
        self._saved_at, self._saved_attacks_done = now, self._attacks_done
        unfinished = Path("snapshot.part")
        tensors = {name: tensor.contiguous() for name, tensor in snapshot().items()}
        try:
            save_file(tensors, unfinished, metadata={"run": _identity(self._request)})
        except (OSError, SafetensorError) as error:
            # A full disk costs the snapshot, not the evaluation; the snapshot before it still serves.
            print(f"a snapshot could not be written: {error}", file=sys.stderr)  # noqa: T201
            return
        self._number += 1
        unfinished.rename(SNAPSHOT_FILE.format(self._number))
        self._send(Saved(number=self._number))


def _identity(request: Request) -> str:
    """Everything that must be equal for a snapshot to be of use, the program itself included."""
    kept = request.model_dump(exclude=_OF_THE_ATTEMPT)
    kept["device"] = request.confinement.device
    return json.dumps({**kept, "torch": torch.__version__, "program": _program_sha256()}, sort_keys=True)


def _program_sha256() -> str:
    """Return a hash of the evaluation library: after an update its state may have other fields, or another meaning."""
    sources = sorted(Path(benchmark.__file__).parent.rglob("*.py"))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()


def _resumed(request: Request) -> Snapshot | None:
    if not request.resume:
        return None
    try:
        with safe_open(RESUME_FILE, framework="pt") as file:
            if (file.metadata() or {}).get("run") != _identity(request):
                return None  # made under other settings: begin again rather than mix two runs
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dictionary
    except (OSError, SafetensorError) as error:
        print(f"the snapshot could not be read, so the run begins again: {error}", file=sys.stderr)  # noqa: T201
        return None
