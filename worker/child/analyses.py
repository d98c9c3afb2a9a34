"""Analyses of a published model, inside the child."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import nn

from benchmark.analysis.material import Material
from benchmark.analysis.results import Analysis
from benchmark.analysis.study import study
from benchmark.datasets import LabelledPoints
from benchmark.pipeline import device_named
from benchmark.threat_models import ThreatModel
from worker.child.others import other_models
from worker.messages import STUDY_FILE, Message, Progressed, Request

_SIGN_OF_LIFE_S = 30.0


def analyse(
    request: Request, analysis: Analysis, model: nn.Module, points: LabelledPoints, send: Callable[[Message], None]
) -> None:
    """Make one analysis and leave what it has found.

    Args:
        request: what is asked.
        analysis: which one.
        model: the model.
        points: those that it is analysed on.
        send: tells the parent.
    """
    device = device_named(request.confinement.device)
    material = Material(
        model.to(device).eval(),
        LabelledPoints(points.x.to(device), points.y.to(device), points.index),
        ThreatModel(request.norm, request.epsilon, request.dataset),
        seed=request.seed,
        width=request.slot_width,
        data_dir=request.data_dir,
        name=request.name,
        others=dict(other_models(request, device)),
        checkpoint_sha256=request.checkpoint_sha256,
    )
    with _signs_of_life(analysis, len(points.y), send):
        found = study(material, [analysis])
    Path(STUDY_FILE).write_bytes(found.to_bytes())


@contextmanager
def _signs_of_life(analysis: Analysis, points: int, send: Callable[[Message], None]) -> Iterator[None]:
    """Tell now and then that the analysis still runs: what takes hours has nothing else to say meanwhile."""
    over = threading.Event()
    line = Progressed(
        points=points,
        points_done=0,
        attack=analysis,
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
