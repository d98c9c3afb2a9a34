"""Frozen, versioned ensembles. A change that can move a number is a new protocol, never an edit of an old one."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmark.attacks.base import Attack, Setting
from benchmark.attacks.transfer import Transfer
from benchmark.catalogue import CATALOGUE, attack_named
from benchmark.errors import InvalidInput, UnsupportedNorm
from benchmark.report import Check, CheckOutcome
from benchmark.search_model import Precision
from benchmark.threat_models import NORMS
from benchmark.unannounced import COMPOSED_VERSION


@dataclass(frozen=True)
class Protocol:
    """A named, versioned ensemble of attacks, run in order, each on the survivors.

    Args:
        name: what evaluations ask for, such as "standard".
        version: raised with every change that can move a number.
        attacks: the attacks for a setting, in order.
        norms: those in which it is defined.
        passes: how often the model is asked for each verdict; more than once where it draws at random.
        precision: in which the attacks search; "mixed" may miss what "float32" finds, so it never ranks.
    """

    name: str
    version: int
    attacks: Callable[[Setting], tuple[Attack[Any], ...]]
    norms: tuple[str, ...] = NORMS
    passes: int = 1
    precision: Precision = "float32"

    @property
    def label(self) -> str:
        """The name that reports bear and boards never mix."""
        return f"{self.name}-{self.version}"

    def check_norm(self, norm: str) -> None:
        """Refuse a norm in which the protocol is not defined.

        Raises:
            UnsupportedNorm: it is not.
        """
        if norm not in self.norms:
            raise UnsupportedNorm.because(
                "norm",
                found=f"{norm} with protocol {self.name}",
                expected=", ".join(self.norms),
                remedy="use the standard protocol, which is defined in every norm",
            )


def _standard(setting: Setting) -> tuple[Attack[Any], ...]:
    """AutoAttack's standard ensemble, Croce & Hein 2020, arXiv:2003.01690, section 5; in L1, arXiv:2103.01208.

    With 3 classes the targeted DLR is undefined and the untargeted one takes its place; with 2 both are undefined.
    """
    restarts, targets = _STANDARD_EFFORT[setting.norm.name]
    attacks = [attack_named("apgd-ce", setting, {"restarts": restarts})]
    if setting.classes >= 4:
        attacks.append(attack_named("apgd-t", setting, {"targets": targets}))
    elif setting.classes == 3:
        attacks.append(attack_named("apgd-dlr", setting, {"restarts": restarts}))
    return (*attacks, attack_named("fab-t", setting), attack_named("square", setting))


_STANDARD_EFFORT = {"Linf": (1, 9), "L2": (1, 9), "L1": (5, 5)}
"""Restarts of apgd-ce and targets of apgd-t."""


def _plus(setting: Setting) -> tuple[Attack[Any], ...]:
    """AutoAttack's larger ensemble, with restarts and the untargeted attacks; losses left undefined are left out."""
    again = {"restarts": 5}
    attacks = [attack_named("apgd-ce", setting, again)]
    if setting.classes >= 3:
        attacks.append(attack_named("apgd-dlr", setting, again))
    attacks += [attack_named("fab", setting, again), attack_named("square", setting)]
    if setting.classes >= 4:
        attacks.append(attack_named("apgd-t", setting))
    return (*attacks, attack_named("fab-t", setting))


def _rand(setting: Setting) -> tuple[Attack[Any], ...]:
    """AutoAttack's ensemble for models that draw at random: gradients averaged over 20 passes.

    The model's draws are its own, so two runs differ and the finding ``randomized`` is expected. A verdict is that of
    the mean answer of 20 passes; the finding ``mean_accuracy`` tells the accuracy as the mean over as many passes.
    """
    averaged = {"eot": RAND_PASSES}
    attacks = [attack_named("apgd-ce", setting, averaged)]
    if setting.classes >= 3:
        attacks.append(attack_named("apgd-dlr", setting, averaged))
    return tuple(attacks)


def _follow_up(setting: Setting) -> tuple[Attack[Any], ...]:
    """A closer look at a flagged entry, on the points that the ranking run left robust.

    What misled its gradients may not mislead the gradients of other models, nor many restarts. So this takes examples
    from the sources, where there are any, then the margin to every target from several starts, then Square with 30
    restarts: these took the model of Xiao et al. 2020, arXiv:1905.10510, from the 18.50 % that the standard ensemble
    had left it down to 7.40 %.
    """
    made_elsewhere: tuple[Attack[Any], ...] = ()
    if setting.sources:
        transfer = Transfer(
            setting.norm, setting.epsilon, setting.image_shape, sources=setting.sources, classes=setting.classes
        )
        made_elsewhere = (transfer,)
    return (
        *made_elsewhere,
        attack_named("multi-targeted", setting, {"targets": 9, "steps": 100, "restarts": 5}),
        attack_named("square", setting, {"restarts": 30}),
    )


RAND_PASSES = 20
"""Passes over which `rand` averages: Croce & Hein 2020, arXiv:2003.01690, section 6."""
STANDARD = Protocol("standard", 1, _standard)
PLUS = Protocol("plus", 1, _plus, norms=("Linf", "L2"))
RAND = Protocol("rand", 1, _rand, passes=RAND_PASSES)
MIXED = Protocol("mixed", 1, _standard, precision="mixed")
"""A preview: the attacks of `standard`, searching in bfloat16; the judge stays in float32."""
FOLLOW_UP = Protocol("follow-up", 1, _follow_up)
"""For entries that a check found doubtful; it may only lower a number."""
PROTOCOLS = (STANDARD, PLUS, RAND, MIXED, FOLLOW_UP)


def protocol_named(name: str) -> Protocol:
    """Return the newest protocol of that name, the one of that label, or the one composed as the name says.

    Raises:
        InvalidInput: there is none, and the name does not compose one.
    """
    for protocol in PROTOCOLS:
        if name in (protocol.name, protocol.label):
            return protocol
    return composed(name)


def composed(text: str) -> Protocol:
    """Return an ensemble put together from attacks by name.

    Args:
        text: names joined by "+", in the order in which they run, each with its options in parentheses where they
            differ from the defaults: "apgd-ce+square" or "pgd(steps=50, restarts=3)+square(queries=1000)".
    Raises:
        InvalidInput: an attack or option is unknown, a value cannot be used, or an attack comes twice.
    """
    parts = [_parse(part) for part in text.removesuffix(f"-{COMPOSED_VERSION}").replace(" ", "").split("+")]
    names = [name for name, _ in parts]
    name = "+".join(_written(part, options) for part, options in parts)
    if len(set(names)) < len(names) or len(name) > _LONGEST_NAME:
        raise InvalidInput.because(
            "protocol", found=text[:_LONGEST_NAME], expected=f"each attack once, in {_LONGEST_NAME} characters",
            remedy="use restarts instead of naming an attack twice",
        )  # fmt: skip
    return Protocol(
        name,
        COMPOSED_VERSION,
        lambda setting: tuple(attack_named(part, setting, options) for part, options in parts),
    )


_LONGEST_NAME = 90
"""Reports allow labels of 100 characters."""


def _parse(part: str) -> tuple[str, dict[str, float]]:
    found = re.fullmatch(r"([a-z0-9-]+)(?:\(([^()]*)\))?", part)
    if found is None or found[1] not in CATALOGUE:
        known = (*(protocol.name for protocol in PROTOCOLS), *CATALOGUE)
        raise InvalidInput.because(
            "protocol", found=part[:_LONGEST_NAME], expected=f"one of {', '.join(known)}",
            remedy='leave it out for the standard ensemble, or join attacks with "+"',
        )  # fmt: skip
    name, allowed = found[1], CATALOGUE[found[1]].options
    options: dict[str, float] = {}
    for assignment in found[2].split(",") if found[2] else ():
        option, _, value = assignment.partition("=")
        number = _number(value)
        whole = option == "step_size" or number.is_integer()
        if option not in allowed or option in options or not (0 < number <= _LARGEST) or not whole:
            raise InvalidInput.because(
                "protocol", found=f"{name}({assignment})",
                expected=f"for {name}: {', '.join(allowed) or 'no options'}; positive, and whole but for step_size",
                remedy="mend or leave out this option",
            )  # fmt: skip
        options[option] = number
    return name, options


_LARGEST = 1_000_000


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _written(name: str, options: Mapping[str, float]) -> str:
    inside = ",".join(f"{option}={value:.10g}" for option, value in sorted(options.items()))
    return f"{name}({inside})" if inside else name


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


def mean_accuracy_check(accuracies: Sequence[float]) -> Check:
    """Tell the accuracy on the final examples as the mean over several passes, and how far single passes differ.

    Args:
        accuracies: of each pass, in [0, 1], at least one.
    """
    mean, low, high = sum(accuracies) / len(accuracies), min(accuracies), max(accuracies)
    differ = low < high
    return Check(
        code="mean_accuracy",
        outcome=CheckOutcome.FLAGGED if differ else CheckOutcome.PASSED,
        value=mean,
        message=f"Mean accuracy over {len(accuracies)} passes on the final examples: {mean:.4f}; "
        f"single passes {low:.4f} to {high:.4f}. A point that was not broken counts with its clean image.",
        remedy="Quote this mean with its number of passes: a single pass would give another number." if differ else "",
    )
