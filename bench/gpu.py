"""Check the engine on a GPU and time it against the reference's code there; the result is Markdown.

    python -m bench.gpu --points 256 --json gpu.json

Verdicts on the device are compared with those on the CPU; recorded passes with plain ones; then a WideResNet-28-10 is
attacked by ours and by pyautoattack, where that is installed. Its weights are random and its labels its own answers, so
with a tiny budget nothing breaks: the costly case, in which every pass of the protocol is made. With --device cpu and
--network WideResNet-10-1 the same is done without a GPU, to see that the script works.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark import ThreatModel, cuda, datasets
from benchmark.classifier import MIN_ROWS, frozen
from benchmark.ensemble import Run
from benchmark.pipeline import evaluate_points, slot_width
from benchmark.protocols import protocol_named
from benchmark.report import EvaluationReport
from benchmark.search_model import search_model
from model_zoo import load_model
from model_zoo.architectures.wide_resnet import WideResNet

PROTOCOL = "apgd-ce+apgd-t(targets=1)+fab-t(targets=1)+square(queries=500)"
"""Every kind of step of the standard ensemble, each often enough to be timed."""
NETWORKS = {"WideResNet-28-10": (28, 10), "WideResNet-10-1": (10, 1)}
"""Depth and widening."""
_BUDGET = ThreatModel("Linf", "1/10000", "cifar10")
_AGREEING = 0.995
_BARE_ROUNDS = 10


@dataclass(frozen=True)
class Finding:
    """One line of the result; ``passed`` is None where a figure has no bound."""

    name: str
    value: str
    passed: bool | None = None


def seconds(device: torch.device, work: Callable[[], object]) -> float:
    """Time work to its end, what it left running on the device included."""
    _wait(device)
    began = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - began


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def verdicts(device: torch.device, points: int) -> list[Finding]:
    """Compare the verdicts on a bundled network with the CPU's, and two runs on the device with each other."""
    data = datasets.load("digits", "test", points)
    model = load_model("Digits_PGD10", dataset="digits", threat_model="Linf")
    budget = ThreatModel("Linf", "1/5", "digits")

    def report(place: torch.device) -> EvaluationReport:
        run = Run(budget, protocol_named("standard"), 0, 64, place)
        return evaluate_points(model.to(place), data.x.to(place), data.y.to(place), data.index, run).report

    on_cpu, once, again = report(torch.device("cpu")), report(device), report(device)
    equal = sum(one == other for one, other in zip(on_cpu.points.robust, once.points.robust, strict=True)) / points
    return [
        Finding("verdicts equal to the CPU's", f"{equal:.4f} of {points} points", equal >= _AGREEING),
        Finding("two runs equal in every number", str(once.results_sha256() == again.results_sha256())),
    ]


def recorded_passes(model: nn.Module, x: Tensor) -> list[Finding]:
    """Compare a recorded pass and its gradient with plain ones, and time both at a small batch."""
    images = x[:MIN_ROWS].contiguous(memory_format=torch.channels_last)
    recorded = cuda.Captured(model, (MIN_ROWS,))

    def gradient(network: nn.Module) -> tuple[Tensor, Tensor]:
        leaf = images.clone().requires_grad_()
        logits = network(leaf)
        return logits.detach(), torch.autograd.grad(logits.logsumexp(1).sum(), leaf)[0].clone()

    with cuda.precision_of(x.device, search=True):
        plain, replayed = gradient(model), gradient(recorded)
        difference = max(float((a - b).abs().max()) for a, b in zip(plain, replayed, strict=True))
        times = [
            median(seconds(x.device, lambda network=network: gradient(network)) for _ in range(_BARE_ROUNDS))  # type: ignore[misc]
            for network in (model, recorded)
        ]
    close = difference <= 1e-4 * float(plain[0].abs().max())
    return [
        Finding("largest difference of recorded passes", f"{difference:.2g}", close),
        Finding(
            f"gradient pass of {MIN_ROWS} rows, plain and recorded", f"{1e3 * times[0]:.2f} and {1e3 * times[1]:.2f} ms"
        ),
    ]


def speed(model: nn.Module, x: Tensor, y: Tensor) -> list[Finding]:
    """Time ours against the passes alone and against the reference's code."""
    device = x.device
    width = slot_width(None, model, x)
    run = Run(_BUDGET, protocol_named(PROTOCOL), 0, width, device)
    # The first evaluation has kernels chosen and passes recorded.
    evaluate_points(
        model, x[:width], y[:width], range(len(x[:width])), Run(_BUDGET, protocol_named("fgsm"), 0, width, device)
    )
    found: list[EvaluationReport] = []
    ours = seconds(device, lambda: found.append(evaluate_points(model, x, y, range(len(x)), run).report))
    forward = sum(attack.forward_passes for attack in found[0].attacks)
    backward = sum(attack.backward_passes for attack in found[0].attacks)
    alone = _bare(model, x, y, width, forward, backward)
    lines = [
        Finding("slot width that fits", str(width)),
        Finding("layout", found[0].provenance.layout),
        Finding("robust accuracy, ours", f"{found[0].robust_accuracy:.4f}"),
        Finding("ours", f"{ours:.1f} s for {forward} forward and {backward} backward passes"),
        Finding("share of the time that the passes alone would take", f"{alone / ours:.2f}", alone / ours >= 0.8),
    ]
    if importlib.util.find_spec("pyautoattack") is None:
        return [*lines, Finding("pyautoattack", "not installed here, so not measured")]
    peer = seconds(device, lambda: _reference(model, x, y, width))
    return [*lines, Finding("pyautoattack", f"{peer:.1f} s"), Finding("ratio", f"{peer / ours:.2f}", peer / ours >= 4)]


def _bare(model: nn.Module, x: Tensor, y: Tensor, width: int, forward: int, backward: int) -> float:
    """Return the seconds that so many passes take alone, in the form in which the search makes them."""
    rows = torch.arange(width, device=x.device) % len(x)
    with torch.no_grad():
        search = search_model(model, x[:MIN_ROWS], model(x[:MIN_ROWS]))
    images, labels = x[rows].contiguous(memory_format=search.memory_format), y[rows]

    def one_forward() -> None:
        with torch.no_grad():
            search.model(images)

    def one_gradient() -> None:
        leaf = images.clone().requires_grad_()
        torch.autograd.grad(F.cross_entropy(search.model(leaf), labels, reduction="sum"), leaf)

    with cuda.precision_of(x.device, search=True):
        one_gradient()
        times = [median(seconds(x.device, work) for _ in range(_BARE_ROUNDS)) for work in (one_forward, one_gradient)]
    return ((forward - backward) * times[0] + backward * times[1]) / width


def _reference(model: nn.Module, x: Tensor, y: Tensor, width: int) -> None:
    from pyautoattack import AutoAttack

    peer = AutoAttack(
        model, norm=_BUDGET.norm, eps=_BUDGET.radius, version="standard", device=str(x.device), seed=0, verbose=False
    )
    peer.apgd_targeted.n_target_classes = peer.fab.n_target_classes = 1
    peer.square.n_queries = 500
    peer.run_standard_evaluation(x, y, batch_size=width)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--network", default="WideResNet-28-10", choices=NETWORKS)
    parser.add_argument("--points", type=int, default=256)
    parser.add_argument("--json", type=Path, help="also write the findings to this file")
    chosen = parser.parse_args()
    if chosen.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error("there is no GPU here; --device cpu --network WideResNet-10-1 tries the script without one")
    device = torch.device(chosen.device)
    torch.manual_seed(0)
    model = WideResNet(10, *NETWORKS[chosen.network]).eval().requires_grad_(False).to(device)
    x = torch.rand(chosen.points, 3, 32, 32, device=device)
    with torch.no_grad():
        y = torch.cat([model(images).argmax(1) for images in x.split(64)])
    findings = verdicts(device, min(chosen.points, 200))
    with frozen(model):
        findings += [*recorded_passes(model, x), *speed(model, x, y)]
    hardware = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(f"{chosen.network}, {chosen.points} points, {hardware}, torch {torch.__version__}\n")
    print("| what | value | within its bound |\n|---|---|---|")
    for finding in findings:
        bound = {True: "yes", False: "NO", None: ""}[finding.passed]
        print(f"| {finding.name} | {finding.value} | {bound} |")
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(finding) for finding in findings], indent=1) + "\n")


if __name__ == "__main__":
    main()
