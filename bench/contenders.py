"""One run of one side in this process: its time, its passes, its memory and its verdicts."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bench.cases import BARE, OURS, PYAUTOATTACK, TORCHATTACKS, TUNED, Case
from bench.networks import NETWORKS, Points
from bench.passes import BarePasses, Interleaved, PassTimes, PeakMemory
from bench.verdicts import WIDTH, survivors
from benchmark.ensemble import Run
from benchmark.pipeline import evaluate_points
from benchmark.protocols import protocol_named

_BARE_ROUNDS = 30
STEPS = 100
"""Of every white-box attack: Croce & Hein 2020, arXiv:2003.01690, section 5."""


@dataclass(frozen=True)
class Measurement:
    """What one run took and found.

    Args:
        wall: seconds of the evaluation alone, without imports, loading and our measurements in between.
        cpu: its CPU seconds, over all threads.
        peak: the process's highest resident memory, in bytes.
        grown: the part of it that came after model and points were loaded.
        forward: rows sent through the model.
        backward: rows sent back.
        robust: for each point, by our judge.
        bare: bare passes measured during the run; ours alone.
    """

    case: str
    contender: str
    wall: float
    cpu: float
    peak: int
    grown: int
    forward: int
    backward: int
    robust: tuple[bool, ...]
    bare: PassTimes | None = None

    @classmethod
    def read(cls, content: dict[str, Any]) -> Measurement:
        bare = content["bare"]
        return cls(**{**content, "robust": tuple(content["robust"]), "bare": PassTimes(**bare) if bare else None})


@dataclass
class _Tally:
    """What a side counts and measures while it runs."""

    forward: int = 0
    backward: int = 0
    bare: Interleaved | None = None

    def watch(self, model: nn.Module) -> None:
        """Count the rows that go through a model and back; the hooks cost microseconds of a pass's milliseconds."""

        def count(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            self.forward += len(inputs[0])
            if output.requires_grad:
                output.register_hook(count_back)

        def count_back(grad: Tensor) -> None:
            self.backward += len(grad)

        model.register_forward_hook(count)


Side = Callable[[nn.Module, Points, Case, int, _Tally], Callable[[], Tensor]]
"""Makes everything ready outside the measured time; what it returns runs and gives back adversarial examples."""


def measure(case: Case, contender: str, points: int, seed: int) -> Measurement:
    """Run one side once."""
    network = NETWORKS[case.network]
    data = network.load_points(points)
    # Peers get the model as people load it; ours freezes it by itself.
    model = network.load().requires_grad_(contender in {PYAUTOATTACK, TORCHATTACKS})
    tally = _Tally()
    run = SIDES[contender](model, data, case, seed, tally)
    _warm_up(network.load(), data.x[:8])
    memory = PeakMemory()
    wall, cpu = time.perf_counter(), time.process_time()
    x_adv = run()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    grown, bare = memory.grown(), tally.bare
    return Measurement(
        case=case.name,
        contender=contender,
        wall=wall - (bare.wall if bare else 0),
        cpu=cpu - (bare.cpu if bare else 0),
        peak=1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        grown=grown,
        forward=tally.forward,
        backward=tally.backward,
        robust=tuple(survivors(network.load(), data.x, data.y, x_adv, case.threat_model).tolist()),
        bare=bare.times() if bare else None,
    )


def _warm_up(model: nn.Module, x: Tensor) -> None:
    """Have the kernels loaded, so that neither the time nor the memory of that counts."""
    leaf = x.clone().requires_grad_()
    torch.autograd.grad(model(leaf).sum(), leaf)


def _ours(model: nn.Module, data: Points, case: Case, seed: int, tally: _Tally) -> Callable[[], Tensor]:
    protocol = protocol_named(case.protocol)
    run = Run(case.threat_model, protocol, seed, WIDTH, torch.device("cpu"))
    bare = tally.bare = Interleaved(BarePasses(model, data.x, data.y, case.threat_model.radius, protocol.precision))

    def evaluate() -> Tensor:
        found = evaluate_points(model, data.x, data.y, range(len(data.x)), run, progress=bare)
        tally.forward = sum(attack.forward_passes for attack in found.report.attacks)
        tally.backward = sum(attack.backward_passes for attack in found.report.attacks)
        return found.x_adv

    return evaluate


def _pyautoattack(model: nn.Module, data: Points, case: Case, seed: int, tally: _Tally) -> Callable[[], Tensor]:
    from pyautoattack import AutoAttack

    tally.watch(model)
    peer = AutoAttack(
        model, norm=case.threat_model.norm, eps=case.threat_model.radius, version="standard", device="cpu", seed=seed
    )

    def evaluate() -> Tensor:
        x_adv: Tensor = peer.run_standard_evaluation(data.x, data.y)[0]
        return x_adv

    return evaluate


def _torchattacks(model: nn.Module, data: Points, case: Case, seed: int, tally: _Tally) -> Callable[[], Tensor]:
    from torchattacks import AutoAttack

    tally.watch(model)
    peer = AutoAttack(model, norm=case.threat_model.norm, eps=case.threat_model.radius, version="standard", seed=seed)
    # By default it stops after 10 steps, a tenth of what the ensemble is defined with.
    for attack in peer._autoattack.attacks[:3]:
        attack.steps = STEPS

    def evaluate() -> Tensor:
        x_adv: Tensor = peer(data.x, data.y)
        return x_adv

    return evaluate


def _bare(model: nn.Module, data: Points, case: Case, seed: int, tally: _Tally) -> Callable[[], Tensor]:
    passes = BarePasses(model, data.x, data.y, case.threat_model.radius, protocol_named(case.protocol).precision)

    def evaluate() -> Tensor:
        for _ in range(_BARE_ROUNDS):
            passes.forward()
            passes.gradient()
        return data.x

    return evaluate


SIDES: Mapping[str, Side] = {
    OURS: _ours,
    PYAUTOATTACK: _pyautoattack,
    TUNED: _pyautoattack,
    TORCHATTACKS: _torchattacks,
    BARE: _bare,
}
