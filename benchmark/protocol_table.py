"""The attacks of the boards in words and figures, for whoever only shows them. Nothing here needs torch.

A test compares the figures with the attacks themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

Figures = Mapping[str, int | float | str]


@dataclass(frozen=True)
class DescribedAttack:
    """An attack of a protocol, as it runs on the boards.

    Args:
        name: as reports have it.
        sentence: what it does, in a sentence or two.
        paper: number of its paper on arXiv.
        figures: its parameters by the names that reports give them, for ten classes or more; what follows from the
            budget or from the other models, such as the step size, is left out.
    """

    name: str
    sentence: str
    paper: str
    figures: Figures = field(hash=False)


APGD_CE = DescribedAttack(
    "apgd-ce",
    "Auto-PGD on the cross-entropy: gradient steps whose size adapts by itself.",
    "2003.01690",
    MappingProxyType({"loss": "ce", "iterations": 100, "restarts": 1, "rho": 0.75}),
)
APGD_T = DescribedAttack(
    "apgd-t",
    "Auto-PGD on the targeted difference-of-logits-ratio loss, once for each of the likeliest wrong classes. Scaling "
    "the logits does not help against it.",
    "2003.01690",
    MappingProxyType({"loss": "targeted-dlr", "iterations": 100, "restarts": 1, "targets": 9, "rho": 0.75}),
)
FAB_T = DescribedAttack(
    "fab-t",
    "Looks for the nearest decision boundary, again by target.",
    "1907.02044",
    MappingProxyType({"iterations": 100, "restarts": 1, "targets": 9, "alpha_max": 0.1, "eta": 1.05, "beta": 0.9}),
)
_SQUARE_PAPER = "1912.00049"
SQUARE = DescribedAttack(
    "square",
    "Random search with squares, without any gradient. It is the witness against gradients that mislead.",
    _SQUARE_PAPER,
    MappingProxyType({"queries": 5000, "restarts": 1, "p_init": 0.8, "loss": "margin"}),
)
TRANSFER = DescribedAttack(
    "transfer",
    "Examples made on other models of the board, by momentum and on their gradients, are tried on this one.",
    "1710.06081",
    MappingProxyType({"loss": "ce", "iterations": 40, "decay": 1.0}),
)
MULTI_TARGETED = DescribedAttack(
    "multi-targeted",
    "Gradient steps on the margin to each of several wrong classes, from several starts.",
    "1910.09338",
    MappingProxyType({"iterations": 100, "restarts": 5, "targets": 9}),
)
SQUARE_AGAIN = DescribedAttack(
    "square",
    "Random search again, from many more starts.",
    _SQUARE_PAPER,
    MappingProxyType({"queries": 5000, "restarts": 30, "p_init": 0.8, "loss": "margin"}),
)

RANKING: tuple[DescribedAttack, ...] = (APGD_CE, APGD_T, FAB_T, SQUARE)
"""What every entry that is evaluated here is ranked by, in order."""
CLOSER_LOOK: tuple[DescribedAttack, ...] = (TRANSFER, MULTI_TARGETED, SQUARE_AGAIN)
"""What entries in doubt are looked at by, in order."""
CLOSER_LOOK_PROTOCOL = "follow-up-1"
