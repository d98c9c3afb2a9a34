"""What pages tell of the attacks is what the attacks do."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from torch import nn

from benchmark.attacks.base import Setting, Source
from benchmark.norms import norm_named
from benchmark.protocol_table import CLOSER_LOOK, CLOSER_LOOK_PROTOCOL, RANKING, DescribedAttack
from benchmark.protocols import FOLLOW_UP, STANDARD, Protocol
from benchmark.threat_models import BOARDS, RANKING_PROTOCOL, Board

ATTACKED = [board for board in BOARDS if board.attacked]


FOLLOWS = {"step_size", "source 1"}
"""From the budget, or from the other models."""


def figures(protocol: Protocol, board: Board) -> list[tuple[str, Mapping[str, object]]]:
    """Every attack with what follows from nothing else; no targets, as of untargeted attacks, are not told."""
    norm, source = norm_named(board.threat_model), Source("other", nn.Identity())
    setting = Setting(norm, board.budget.radius, (3, 32, 32), classes=10, sources=(source,))
    return [
        (
            attack.name,
            {
                name: value
                for name, value in attack.parameters.items()
                if name not in FOLLOWS | ({"restarts"} if attack.name == "transfer" else set())
                and (name, value) != ("targets", 0)
            },
        )
        for attack in protocol.attacks(setting)
    ]


def described(attacks: tuple[DescribedAttack, ...]) -> list[tuple[str, Mapping[str, object]]]:
    return [(attack.name, dict(attack.figures)) for attack in attacks]


@pytest.mark.parametrize("board", ATTACKED, ids=lambda board: board.name)
def test_the_table_has_the_figures_of_the_attacks(board: Board) -> None:
    assert (STANDARD.label, FOLLOW_UP.label) == (RANKING_PROTOCOL, CLOSER_LOOK_PROTOCOL)
    assert figures(STANDARD, board) == described(RANKING)
    assert figures(FOLLOW_UP, board) == described(CLOSER_LOOK)
