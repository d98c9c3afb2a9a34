"""Threat models, and the official boards that fix one for everybody."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, get_args

from benchmark.errors import InvalidInput, NotFound, UnsupportedNorm

CORRUPTIONS = "corruptions"
"""The threat model of boards on which nobody attacks: common corruptions."""

NormName = Literal["Linf", "L2", "L1"]
NORMS: tuple[NormName, ...] = get_args(NormName)


@dataclass(frozen=True, init=False)
class ThreatModel:
    """What the attacker may do to an image: move it by at most ``epsilon`` in ``norm`` and stay in [0, 1].

    Args:
        norm: "Linf", "L2" or "L1".
        epsilon: budget in pixel units, > 0, as text ("8/255"), fraction or float; kept as an exact fraction.
        dataset: the data set the threat model belongs to, where it belongs to one.
    Raises:
        UnsupportedNorm: the norm is none of the three.
        InvalidInput: epsilon is not a positive number.
    """

    norm: NormName
    epsilon: Fraction
    dataset: str | None

    def __init__(self, norm: str, epsilon: str | Fraction | float, dataset: str | None = None) -> None:
        if norm not in NORMS:
            raise UnsupportedNorm.because(
                "norm", found=norm, expected=f"one of {', '.join(NORMS)}", remedy="use the norm of an official board"
            )
        object.__setattr__(self, "norm", norm)
        object.__setattr__(self, "epsilon", _as_fraction(epsilon))
        object.__setattr__(self, "dataset", dataset)

    @property
    def radius(self) -> float:
        """Epsilon as a float, in pixel units."""
        return float(self.epsilon)

    def __str__(self) -> str:
        return f"{self.norm}, epsilon {self.epsilon}"


def _as_fraction(epsilon: str | Fraction | float) -> Fraction:
    try:
        # As a float first where there is an exponent: an exact power of ten with a large one would fill the memory.
        exponent = isinstance(epsilon, str) and "e" in epsilon.lower()
        value = Fraction(float(epsilon) if exponent else epsilon).limit_denominator(10_000)
        usable = value > 0 and math.isfinite(value)
    except (ValueError, OverflowError, ZeroDivisionError, TypeError):
        value, usable = Fraction(0), False
    if not usable:
        raise InvalidInput.because(
            "epsilon",
            found=repr(epsilon),
            expected="a positive number in pixel units of [0, 1]",
            remedy='give a fraction as text, such as "8/255", or a number above 0.0001',
        )
    return value


@dataclass(frozen=True)
class Board:
    """An official leaderboard: a data set, a threat model and the protocol that ranks on it.

    Args:
        dataset: data set id, such as "cifar10".
        threat_model: "Linf", "L2" or "corruptions"; with the dataset it names the board.
        title: what people call it.
        epsilon: the attacker's budget; None where there is no attacker.
        points: size of the evaluation set.
        evaluated_here: whether this service can run evaluations for it.
        needs_cuda: whether an evaluation takes a GPU to end in reasonable time.
        limit_s: predicted seconds of one worker above which a model is refused.
        follow_up_s: seconds of one worker that a closer look at an entry in doubt may take.
    """

    dataset: str
    threat_model: str
    title: str
    epsilon: Fraction | None
    points: int
    evaluated_here: bool = False
    needs_cuda: bool = False
    limit_s: float = 24 * 3600.0
    follow_up_s: float = 24 * 3600.0

    @property
    def name(self) -> str:
        """``dataset/threat_model``, the board's name in addresses and errors."""
        return f"{self.dataset}/{self.threat_model}"

    @property
    def attacked(self) -> bool:
        """Whether the board has an attacker, and not common corruptions."""
        return self.epsilon is not None

    @property
    def budget(self) -> ThreatModel:
        """The threat model of the board.

        Raises:
            UnsupportedNorm: the board has no attacker.
        """
        return ThreatModel(self.threat_model, self.epsilon or 0, self.dataset)

    @property
    def norm(self) -> str:
        """What reports give as the norm: "corruptions" where there is no attacker."""
        return self.budget.norm if self.attacked else CORRUPTIONS

    @property
    def epsilon_text(self) -> str:
        """The budget as reports write it; "0" where there is no attacker."""
        return str(self.epsilon or 0)

    @property
    def protocol(self) -> str:
        """Label of the protocol that ranks on it."""
        return RANKING_PROTOCOL if self.attacked else CORRUPTION_PROTOCOL


RANKING_PROTOCOL = "standard-1"
CORRUPTION_PROTOCOL = "corruptions-1"


def neighbourhood(dataset: str | None) -> ThreatModel:
    """Return how far the restrictions move an image on boards that have no attacker and so no budget of their own."""
    return ThreatModel("Linf", Fraction(8, 255), dataset)


BOARDS: tuple[Board, ...] = (
    Board("cifar10", "Linf", "CIFAR-10, Linf 8/255", Fraction(8, 255), 10_000),
    Board("cifar10", "L2", "CIFAR-10, L2 0.5", Fraction(1, 2), 10_000),
    Board("cifar10", "corruptions", "CIFAR-10, common corruptions", None, 10_000),
    Board("cifar100", "Linf", "CIFAR-100, Linf 8/255", Fraction(8, 255), 10_000),
    Board("cifar100", "corruptions", "CIFAR-100, common corruptions", None, 10_000),
    Board("imagenet", "Linf", "ImageNet, Linf 4/255", Fraction(4, 255), 5_000, needs_cuda=True),
    Board("imagenet", "corruptions", "ImageNet, common corruptions", None, 5_000, needs_cuda=True),
    Board(
        "digits",
        "Linf",
        "UCI digits, Linf 0.2",
        Fraction(1, 5),
        500,
        evaluated_here=True,
        limit_s=6 * 3600,
        follow_up_s=600,
    ),
    Board(
        "digits",
        "L2",
        "UCI digits, L2 0.8",
        Fraction(4, 5),
        500,
        evaluated_here=True,
        limit_s=6 * 3600,
        follow_up_s=600,
    ),
    Board("digits", CORRUPTIONS, "UCI digits, common corruptions", None, 500, evaluated_here=True, limit_s=6 * 3600),
)


def official_board(dataset: str, threat_model: str) -> Board:
    """Return the official board of that name.

    Raises:
        NotFound: there is none.
    """
    for board in BOARDS:
        if (board.dataset, board.threat_model) == (dataset, threat_model):
            return board
    raise NotFound.because(
        "board",
        found=f"{dataset}/{threat_model}",
        expected=f"one of {', '.join(board.name for board in BOARDS)}",
        remedy="choose one of the boards listed",
    )
