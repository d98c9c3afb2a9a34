"""A small part of what `make chaos` does."""

from __future__ import annotations

import pytest

from bench.chaos import VICTIMS, chaos
from tests.faults.stack import Stack

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


def test_nothing_is_lost_while_everything_dies_at_random(stack: Stack) -> None:
    verdict = chaos(stack, runs=4, seed=1, say=lambda line: None)
    assert verdict.wrong == []
    assert sum(verdict.killed.values()) >= 3
    assert set(verdict.killed) <= set(VICTIMS)
