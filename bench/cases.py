"""What the speed benchmark measures: a network, an attacker, points, and who runs how often."""

from __future__ import annotations

from dataclasses import dataclass

from benchmark import ThreatModel

OURS, PYAUTOATTACK, TORCHATTACKS = "ours", "pyautoattack", "torchattacks"
TUNED = "pyautoattack, tuned"
"""The peer with our allocator settings and frozen parameters: what it gains by what any caller can do for it."""
BARE = "bare"
"""No attack: passes of the model alone."""


@dataclass(frozen=True)
class Case:
    """One evaluation, by ours and by peers.

    Args:
        protocol: ours; the peers always run their version "standard" in float32.
        peers: run in turns with ours.
        repeats: of ours and of each peer but the tuned one, which runs once.
    """

    name: str
    network: str
    threat_model: ThreatModel
    points: int
    protocol: str = "standard"
    peers: tuple[str, ...] = (PYAUTOATTACK, TUNED, TORCHATTACKS)
    repeats: int = 2


_LARGE = ThreatModel("Linf", "3/10", "mnist")
_SMALL = ThreatModel("Linf", "4/255", "cifar10")
CASES = {
    case.name: case
    for case in (
        Case("undefended", "mnist_standard", _LARGE, 600, repeats=3),
        # At least 60 of the points survive, so that the batch is full to the end.
        Case("robust", "mnist_linf", _LARGE, 72),
        Case("mixed", "mnist_linf", _LARGE, 72, protocol="mixed", peers=(PYAUTOATTACK,)),
        # The slowest by far, so every side runs once, and the tuned peer on a part of the points.
        Case("resnet", "cifar_linf", _SMALL, 176, peers=(PYAUTOATTACK,), repeats=1),
        Case("resnet-tuned", "cifar_linf", _SMALL, 16, peers=(PYAUTOATTACK, TUNED), repeats=1),
    )
}
MEMORY_CASE = "resnet"
