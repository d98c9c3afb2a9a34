"""Analyses of a published model, inside the child."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import nn

from benchmark.analysis.study import Material, study
from benchmark.datasets import LabelledPoints
from benchmark.errors import GauntletError
from benchmark.pipeline import device_named
from benchmark.threat_models import ThreatModel
from model_zoo.loading import load_submitted
from worker.messages import SOURCE_FILE, STUDY_FILE, Message, Progressed, Request

_SIGN_OF_LIFE_S = 30.0


def analyse(request: Request, model: nn.Module, points: LabelledPoints, send: Callable[[Message], None]) -> None:
    """Make one analysis and leave what it has found.

    Args:
        request: what is asked.
        model: the model.
        points: those that it is analysed on.
        send: tells the parent.
    """
    if request.analysis is None:
        raise ValueError("a request that names no analysis")
    device = device_named(request.confinement.device)
    material = Material(
        model.to(device).eval(),
        LabelledPoints(points.x.to(device), points.y.to(device), points.index),
        ThreatModel(request.norm, request.epsilon, request.dataset),
        seed=request.seed,
        width=request.slot_width,
        data_dir=request.data_dir,
        name=request.name,
        others={name: other.to(device) for name, other in _others(request)},
        checkpoint_sha256=request.checkpoint_sha256,
    )
    with _signs_of_life(request, send):
        found = study(material, [request.analysis])
    Path(STUDY_FILE).write_bytes(found.to_bytes())


def _others(request: Request) -> Iterator[tuple[str, nn.Module]]:
    """Load the models to compare with; one that cannot be loaded is left out, as the names in the result then say."""
    for number, other in enumerate(request.sources):
        try:
            yield other.name, load_submitted(Path(SOURCE_FILE.format(number)), other.architecture, request.dataset)
        except GauntletError as error:
            print(f"the model {other.name} is not compared with: {error}", file=sys.stderr)  # noqa: T201


@contextmanager
def _signs_of_life(request: Request, send: Callable[[Message], None]) -> Iterator[None]:
    """Tell now and then that the analysis still runs: what takes hours has nothing else to say meanwhile."""
    over = threading.Event()
    line = Progressed(
        points=len(request.indices),
        points_done=0,
        attack=request.analysis or "",
        attacks_done=0,
        attacks=1,
        fraction=0.0,
        robust_accuracy_at_most=1.0,
        forward_passes=0,
        backward_passes=0,
    )

    def tell() -> None:
        while not over.wait(_SIGN_OF_LIFE_S):
            send(line)

    send(line)
    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()
