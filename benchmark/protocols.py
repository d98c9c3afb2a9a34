"""Frozen, versioned ensembles. A change that can move a number is a new protocol, never an edit of an old one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmark.attacks.apgd import Apgd
from benchmark.attacks.base import Attack
from benchmark.attacks.fab import FabT
from benchmark.attacks.square import square
from benchmark.errors import InvalidInput
from benchmark.norms import Norm
from benchmark.report import Check, CheckOutcome


@dataclass(frozen=True)
class Setting:
    """What the choice of an ensemble's attacks may depend on.

    Args:
        norm: geometry of the threat model.
        epsilon: budget in pixel units.
        image_shape: (c, h, w).
        classes: number of logits.
    """

    norm: Norm
    epsilon: float
    image_shape: tuple[int, int, int]
    classes: int


@dataclass(frozen=True)
class Protocol:
    """A named, versioned ensemble of attacks, run in order, each on the survivors.

    Args:
        name: what evaluations ask for, such as "standard".
        version: raised with every change that can move a number.
        attacks: the attacks for a setting, in order.
    """

    name: str
    version: int
    attacks: Callable[[Setting], tuple[Attack[Any], ...]]

    @property
    def label(self) -> str:
        """The name that reports bear and boards never mix."""
        return f"{self.name}-{self.version}"


def _standard(setting: Setting) -> tuple[Attack[Any], ...]:
    """AutoAttack's standard ensemble, Croce & Hein 2020, arXiv:2003.01690, section 5.

    With 3 classes the targeted DLR is undefined and the untargeted one takes its place; with 2 both are undefined.
    """
    norm, epsilon, shape = setting.norm, setting.epsilon, setting.image_shape
    targets = min(9, setting.classes - 1)
    attacks: list[Attack[Any]] = [Apgd(norm, epsilon, shape, loss="ce")]
    if setting.classes >= 4:
        attacks.append(Apgd(norm, epsilon, shape, loss="targeted-dlr", targets=targets))
    elif setting.classes == 3:
        attacks.append(Apgd(norm, epsilon, shape, loss="dlr"))
    attacks.append(FabT(norm, epsilon, shape, targets=targets))
    attacks.append(square(norm, epsilon, shape))
    return tuple(attacks)


STANDARD = Protocol("standard", 1, _standard)
PROTOCOLS = (STANDARD,)


def protocol_named(name: str) -> Protocol:
    """Return the newest protocol of that name, or the one of that label.

    Raises:
        InvalidInput: there is none.
    """
    for protocol in PROTOCOLS:
        if name in (protocol.name, protocol.label):
            return protocol
    raise InvalidInput.because(
        "protocol",
        found=name,
        expected=f"one of {', '.join(protocol.name for protocol in PROTOCOLS)}",
        remedy="leave it out for the standard ensemble",
    )


def few_classes_check(classes: int) -> Check:
    """Tell which losses the number of classes leaves undefined."""
    code, threshold = "few_classes", 4.0
    if classes >= threshold:
        message = f"{classes} classes: every loss of the ensemble is defined."
        return Check(code=code, outcome=CheckOutcome.PASSED, value=classes, threshold=threshold, message=message)
    instead = "the untargeted DLR loss takes its place" if classes == 3 else "the ensemble runs without it"
    return Check(
        code=code,
        outcome=CheckOutcome.NOT_ASSESSED,
        value=classes,
        threshold=threshold,
        message=f"{classes} classes: the targeted DLR loss needs 4, so {instead}.",
        remedy="Read the robust accuracy as that of a smaller ensemble.",
    )
