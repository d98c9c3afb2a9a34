"""Every attack by name, with the options that a composed protocol may set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmark.attacks.apgd import Apgd
from benchmark.attacks.apgd_l1 import ApgdL1
from benchmark.attacks.base import Attack, Setting
from benchmark.attacks.fab import Fab, FabT
from benchmark.attacks.momentum import Momentum
from benchmark.attacks.pgd import Fgsm, MultiTargeted, Pgd
from benchmark.attacks.spsa import Spsa
from benchmark.attacks.square import Square, SquareLinf
from benchmark.attacks.square_exchange import SquareL1, SquareL2
from benchmark.errors import InvalidInput
from benchmark.losses import LossName
from benchmark.norms import L1

Options = Mapping[str, float]
"""Values by option; all but ``step_size`` are positive whole numbers."""

_MOST_TARGETS = 9
"""Croce & Hein 2020, arXiv:2003.01690, section 5."""
_SQUARES: Mapping[str, type[Square]] = {"Linf": SquareLinf, "L2": SquareL2, "L1": SquareL1}


@dataclass(frozen=True)
class Entry:
    """An attack that can be asked for by name.

    Args:
        make: from a setting and options to the attack.
        options: names of the options it knows.
        least_classes: number of classes from which on it is defined.
    """

    make: Callable[[Setting, Options], Attack[Any]]
    options: tuple[str, ...]
    least_classes: int = 2


def attack_named(name: str, setting: Setting, options: Options | None = None) -> Attack[Any]:
    """Return the attack of that name for a setting.

    Args:
        name: one of those in `CATALOGUE`.
        setting: threat model, image shape and classes.
        options: what shall differ from the attack's defaults.
    Raises:
        InvalidInput: no attack has that name, or it is not defined for so few classes.
    """
    entry = entry_named(name)
    if setting.classes < entry.least_classes:
        raise InvalidInput.because(
            "protocol",
            found=f"{name} on a model of {setting.classes} classes",
            expected=f"at least {entry.least_classes} classes",
            remedy="leave this attack out",
        )
    return entry.make(setting, options or {})


def entry_named(name: str) -> Entry:
    """Return the entry of that name.

    Raises:
        InvalidInput: there is none.
    """
    if name not in CATALOGUE:
        raise InvalidInput.because(
            "protocol", found=name, expected=f"attacks among {', '.join(CATALOGUE)}", remedy="choose one of these"
        )
    return CATALOGUE[name]


def _whole(options: Options, name: str, default: int) -> int:
    return int(options.get(name, default))


def _targets(setting: Setting, options: Options) -> int:
    return min(_whole(options, "targets", _MOST_TARGETS), setting.classes - 1)


def _apgd(loss: LossName) -> Callable[[Setting, Options], Attack[Any]]:
    """Return what makes APGD; in L1 it is another algorithm."""

    def make(setting: Setting, options: Options) -> Attack[Any]:
        norm, epsilon, shape = setting.norm, setting.epsilon, setting.image_shape
        iterations, restarts = _whole(options, "steps", 100), _whole(options, "restarts", 1)
        targets = _targets(setting, options) if loss == "targeted-dlr" else 0
        samples = _whole(options, "eot", 1)
        if isinstance(norm, L1):
            return ApgdL1(
                norm, epsilon, shape,
                loss=loss, iterations=iterations, restarts=restarts, targets=targets, samples=samples,
            )  # fmt: skip
        return Apgd(
            norm, epsilon, shape,
            loss=loss, iterations=iterations, restarts=restarts, targets=targets, samples=samples,
        )  # fmt: skip

    return make


def _fab(setting: Setting, options: Options) -> Attack[Any]:
    return Fab(
        setting.norm, setting.epsilon, setting.image_shape,
        iterations=_whole(options, "steps", 100), restarts=_whole(options, "restarts", 1),
    )  # fmt: skip


def _fab_t(setting: Setting, options: Options) -> Attack[Any]:
    return FabT(
        setting.norm, setting.epsilon, setting.image_shape,
        iterations=_whole(options, "steps", 100), restarts=_whole(options, "restarts", 1),
        targets=_targets(setting, options),
    )  # fmt: skip


def _square(setting: Setting, options: Options) -> Attack[Any]:
    kind = _SQUARES[setting.norm.name]
    return kind(
        setting.norm, setting.epsilon, setting.image_shape,
        queries=_whole(options, "queries", 5000), restarts=_whole(options, "restarts", 1),
    )  # fmt: skip


def _pgd(setting: Setting, options: Options) -> Attack[Any]:
    return Pgd(
        setting.norm, setting.epsilon, setting.image_shape,
        iterations=_whole(options, "steps", 40), restarts=_whole(options, "restarts", 1),
        step_size=options.get("step_size"),
    )  # fmt: skip


def _multi_targeted(setting: Setting, options: Options) -> Attack[Any]:
    return MultiTargeted(
        setting.norm, setting.epsilon, setting.image_shape,
        iterations=_whole(options, "steps", 40), restarts=_whole(options, "restarts", 1),
        step_size=options.get("step_size"), targets=_targets(setting, options),
    )  # fmt: skip


def _fgsm(setting: Setting, _: Options) -> Attack[Any]:
    return Fgsm(setting.norm, setting.epsilon, setting.image_shape)


def _mi_fgsm(setting: Setting, options: Options) -> Attack[Any]:
    return Momentum(
        setting.norm, setting.epsilon, setting.image_shape,
        iterations=_whole(options, "steps", 40), restarts=_whole(options, "restarts", 1),
        step_size=options.get("step_size"),
    )  # fmt: skip


def _spsa(setting: Setting, options: Options) -> Attack[Any]:
    return Spsa(
        setting.norm, setting.epsilon, setting.image_shape,
        iterations=_whole(options, "steps", 60), samples=_whole(options, "samples", 32),
        step_size=options.get("step_size"),
    )  # fmt: skip


CATALOGUE: Mapping[str, Entry] = {
    "apgd-ce": Entry(_apgd("ce"), ("steps", "restarts", "eot")),
    "apgd-dlr": Entry(_apgd("dlr"), ("steps", "restarts", "eot"), least_classes=3),
    "apgd-t": Entry(_apgd("targeted-dlr"), ("steps", "restarts", "targets", "eot"), least_classes=4),
    "fab": Entry(_fab, ("steps", "restarts")),
    "fab-t": Entry(_fab_t, ("steps", "restarts", "targets")),
    "fgsm": Entry(_fgsm, ()),
    "mi-fgsm": Entry(_mi_fgsm, ("steps", "restarts", "step_size")),
    "multi-targeted": Entry(_multi_targeted, ("steps", "restarts", "targets", "step_size")),
    "pgd": Entry(_pgd, ("steps", "restarts", "step_size")),
    "spsa": Entry(_spsa, ("steps", "samples", "step_size")),
    "square": Entry(_square, ("queries", "restarts")),
}
"""The attacks by name."""
