"""Protocols drawn from a secret."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from typing import Any

import pytest
import torch

from benchmark.attacks.base import Attack, Setting
from benchmark.catalogue import CATALOGUE
from benchmark.errors import InvalidInput
from benchmark.norms import norm_named
from benchmark.protocols import protocol_named
from benchmark.unannounced import FAMILIES, unannounced_protocol
from tests.benchmark.models import Robust
from tests.benchmark.runs import engine_of

KEYS = [number.to_bytes(32, "big") for number in range(300)]
MOST_PASSES = 5_000
SHAPE = (1, 3, 3)


def _attack(label: str, classes: int = 10) -> Attack[Any]:
    (attack,) = protocol_named(label).attacks(Setting(norm_named("Linf"), 0.03, SHAPE, classes))
    return attack


def _passes(attack: Attack[Any]) -> int:
    """What a point costs that nothing breaks, a backward pass counted as two."""
    at_each_step = 1 + 2 * int(attack.parameters["samples"]) if attack.name == "spsa" else 3
    return attack.restarts * max(attack.targets, 1) * attack.steps * at_each_step


def _chosen(label: str) -> tuple[str, dict[str, int]]:
    family, _, rest = label.partition("(")
    options = dict(assignment.split("=") for assignment in rest.partition(")")[0].split(","))
    return family, {name: int(value) for name, value in options.items()}


def test_every_family_and_both_ends_of_every_range_occur() -> None:
    drawn: dict[tuple[str, str], set[int]] = defaultdict(set)
    for key in KEYS:
        family, options = _chosen(unannounced_protocol(key))
        assert set(options) == set(FAMILIES[family])
        for option, value in options.items():
            drawn[family, option].add(value)
    assert len(drawn) == sum(len(ranges) for ranges in FAMILIES.values())
    for (family, option), values in drawn.items():
        assert values == set(FAMILIES[family][option])


def test_every_family_is_drawn_about_as_often() -> None:
    families = [_chosen(unannounced_protocol(key))[0] for key in KEYS]
    assert set(families) == {"mi-fgsm", "multi-targeted", "spsa"}
    assert all(70 < families.count(family) < 130 for family in FAMILIES)


@pytest.mark.parametrize("norm", ["Linf", "L2", "L1"])
def test_every_draw_is_the_label_of_a_protocol(norm: str) -> None:
    for key in KEYS:
        label = unannounced_protocol(key)
        protocol = protocol_named(label)
        assert protocol.label == label
        assert protocol_named(protocol.name).label == label
        (attack,) = protocol.attacks(Setting(norm_named(norm), 0.03, SHAPE, 10))
        family, options = _chosen(label)
        assert attack.name == family
        reported = {"iterations" if name == "steps" else name: value for name, value in options.items()}
        assert reported.items() <= attack.parameters.items()


def test_no_draw_costs_a_point_more_than_the_standard_ensemble_spends_on_square() -> None:
    costs = [_passes(_attack(unannounced_protocol(key))) for key in KEYS]
    assert max(costs) <= MOST_PASSES
    assert _passes(_attack("multi-targeted(restarts=3,steps=60)", classes=100)) <= MOST_PASSES


@pytest.mark.parametrize("family", FAMILIES)
def test_dearest_draw_of_a_family_costs_what_was_reckoned(family: str) -> None:
    written = ",".join(f"{option}={max(values)}" for option, values in FAMILIES[family].items())
    attack = _attack(f"{family}({written})")
    engine = engine_of(attack, Robust(SHAPE, 10).eval(), torch.full((1, *SHAPE), 0.5), torch.tensor([0]))
    assert not bool(engine.run().broken.any())
    passes = engine._classifier.forward_passes + 2 * engine._classifier.backward_passes
    assert passes == _passes(attack) <= MOST_PASSES
    assert passes in {4830, 4941}


def test_equal_keys_give_equal_protocols_whatever_else_was_drawn() -> None:
    """These are pinned: a run that is repeated years later must get the protocol it had."""
    assert unannounced_protocol(bytes(32)) == "spsa(samples=32,steps=20)-1"
    assert unannounced_protocol(bytes([1]) * 32) == "multi-targeted(restarts=3,steps=40)-1"
    assert unannounced_protocol(bytes([4]) * 32) == "mi-fgsm(restarts=4,steps=140)-1"
    assert len({unannounced_protocol(key) for key in KEYS}) > 50


def test_every_family_may_be_asked_for_what_is_drawn() -> None:
    for family, ranges in FAMILIES.items():
        assert set(ranges) <= set(CATALOGUE[family].options)
        assert all(min(values) >= 1 for values in ranges.values())


@pytest.mark.parametrize("size", [0, 31, 33])
def test_keys_of_another_length_are_refused_and_not_shown(size: int) -> None:
    with pytest.raises(InvalidInput, match=f"found {size} bytes, expected 32 bytes") as caught:
        unannounced_protocol(b"s" * size)
    assert "sss" not in str(caught.value.as_json())


def test_drawing_needs_no_torch() -> None:
    program = "import sys, benchmark.unannounced as u; u.unannounced_protocol(bytes(32)); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
