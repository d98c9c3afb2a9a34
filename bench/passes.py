"""The time and memory of bare passes: what an evaluation would cost if nothing but the model ran."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.verdicts import WIDTH
from benchmark.ensemble import EvaluationProgress
from benchmark.search_model import Precision, SearchModel, search_model

_SHARE = 20
"""At most one part in so many of the time goes to bare passes."""


@dataclass(frozen=True)
class PassTimes:
    """Medians in seconds for one row, at full width.

    Args:
        forward: without a graph.
        gradient: a forward pass with a graph and the backward pass to the images.
        layout: of weights and images, and whether anything was folded.
    """

    forward: float
    gradient: float
    layout: str
    precision: str

    def of(self, forward_passes: int, backward_passes: int) -> float:
        """Return the seconds that so many passes take alone; each backward pass follows a forward pass."""
        return (forward_passes - backward_passes) * self.forward + backward_passes * self.gradient


class BarePasses:
    """Runs the model as our search does, on batches of full width.

    The images are perturbed, and anew for every pass, as an attack's are: on a CPU, pooling takes longer on noise than
    on plain surfaces, and longer on a batch that it has not seen than on one that it is given again and again.
    """

    def __init__(self, model: nn.Module, x: Tensor, y: Tensor, epsilon: float, precision: Precision) -> None:
        with torch.no_grad():
            answers = model(x[:8])
        self.search: SearchModel = search_model(model, x[:8], answers, precision)
        rows = torch.arange(WIDTH) % len(x)
        self._clean, self._labels, self._epsilon = x[rows], y[rows], epsilon
        self._generator = torch.Generator().manual_seed(0)
        self.renew()

    def renew(self) -> None:
        """Perturb the images anew, for the next pass."""
        signs = 2.0 * torch.randint(0, 2, self._clean.shape, generator=self._generator) - 1
        perturbed = (self._clean + self._epsilon * signs).clamp(0, 1)
        self._images = perturbed.contiguous(memory_format=self.search.memory_format)

    def forward(self) -> None:
        with torch.no_grad():
            self.search.model(self._images)

    def gradient(self) -> None:
        with torch.enable_grad():
            leaf = self._images.clone().requires_grad_()
            loss = F.cross_entropy(self.search.model(leaf).float(), self._labels, reduction="sum")
            torch.autograd.grad(loss, leaf)


@dataclass
class Interleaved:
    """Measures bare passes while an evaluation runs, so that both meet the same state of the machine.

    It serves as the evaluation's progress callback; its own time is to be subtracted from the evaluation's.
    """

    passes: BarePasses
    wall: float = 0.0
    cpu: float = 0.0
    _forward: list[float] = field(default_factory=list)
    _gradient: list[float] = field(default_factory=list)
    _last: float = -1e9

    def __call__(self, _: EvaluationProgress) -> None:
        began, cpu = time.perf_counter(), time.process_time()
        if self._forward and began - self._last < _SHARE * (self._forward[-1] + self._gradient[-1]):
            return
        self._forward.append(self._timed(self.passes.forward))
        self._gradient.append(self._timed(self.passes.gradient))
        self._last = time.perf_counter()
        self.wall += self._last - began
        self.cpu += time.process_time() - cpu

    def _timed(self, work: Callable[[], None]) -> float:
        self.passes.renew()
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    def times(self) -> PassTimes:
        search = self.passes.search
        forward, gradient = median(self._forward) / WIDTH, median(self._gradient) / WIDTH
        return PassTimes(forward, gradient, search.layout, search.precision)


class PeakMemory:
    """How far the resident memory of this process grows from here on; Linux alone tells."""

    def __init__(self) -> None:
        # 5 resets the peak, proc(5).
        Path("/proc/self/clear_refs").write_text("5")
        self._before = _status("VmRSS")

    def grown(self) -> int:
        """Return the peak since the start minus what was resident then, in bytes."""
        return _status("VmHWM") - self._before


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    (kilobytes,) = (line.split()[1] for line in lines if line.startswith(f"{name}:"))
    return 1024 * int(kilobytes)
