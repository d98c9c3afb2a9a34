from __future__ import annotations

import dataclasses
import mmap

import pytest
import torch
from torch import nn

from bench.cases import BARE, CASES, OURS, PYAUTOATTACK
from bench.contenders import Measurement
from bench.engine import run_case
from bench.engine_report import markdown
from bench.passes import PassTimes, PeakMemory
from bench.verdicts import survivors
from benchmark import ThreatModel

PASSES = PassTimes(forward=0.001, gradient=0.003, layout="contiguous", precision="float32")


def measured(contender: str, wall: float, *, robust: tuple[bool, ...] = (True, False), grown: int = 0) -> Measurement:
    bare = PASSES if contender == OURS else None
    return Measurement("resnet", contender, wall, 2 * wall, 2**20, grown, 1000, 400, robust, bare)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_ours_and_a_peer_run_in_processes_of_their_own_and_yield_a_table() -> None:
    case = dataclasses.replace(CASES["undefended"], peers=(PYAUTOATTACK,))
    ours, peer = run_case(case, repeats=1, points=8, threads=1)
    assert (ours.contender, peer.contender) == (OURS, PYAUTOATTACK)
    assert ours.robust == peer.robust == (False,) * 8
    # Ours stops a point the moment it is broken; the peer goes on for 100 steps.
    assert 8 <= ours.forward < 8 * 100 < peer.forward
    assert 0 < ours.backward < 8 * 90 < peer.backward
    for run in (ours, peer):
        assert 0 < run.wall < 60
        assert 0 < run.cpu < 60
        assert 0 < run.grown < run.peak
    assert ours.bare is not None
    assert 0 < ours.bare.forward < ours.bare.gradient
    lines = markdown([ours, peer], threads=1).splitlines()
    assert [line.split(" | ")[0] for line in lines if line.startswith("| ") and "wall" not in line] == [
        "| ours",
        "| pyautoattack",
    ]


def test_the_table_gives_medians_ratios_and_differing_verdicts() -> None:
    runs = [measured(OURS, 2), measured(OURS, 4), measured(OURS, 3)]
    peers = [measured(PYAUTOATTACK, 6, robust=(True, True))]
    row = next(line for line in markdown([*runs, *peers], 1).splitlines() if line.startswith("| pyautoattack"))
    assert row == "| pyautoattack | 1 | 6.00 | 12.00 | 2.00 | 2.00 | 100.0 | 1 | 500 | 200 | 1 |"


def test_efficiency_is_the_time_of_the_passes_alone_over_the_whole() -> None:
    # 600 passes without a graph and 400 with one take 0.6 s and 1.2 s.
    assert PASSES.of(1000, 400) == pytest.approx(1.8)
    assert "would take 60 % of our wall time (30 % of our CPU time)" in markdown([measured(OURS, 3)], 1)


def test_memory_is_told_beside_that_of_a_bare_pass() -> None:
    text = markdown([measured(OURS, 3, grown=6 * 2**20), measured(BARE, 1, grown=5 * 2**20)], 1)
    assert "our evaluation peaks at 1 MiB" in text
    assert "of width 64 at 1 MiB: 1.00 times as much" in text
    assert "these are 6.0 and 5.0 MiB: 1.20 times as much" in text


def test_memory_that_is_given_back_still_counts() -> None:
    peak = PeakMemory()
    size = 64 * 2**20
    # Mapped, not from the allocator, which may still hold freed pages.
    with mmap.mmap(-1, size) as block:
        block.write(b"x" * size)
    # The kernel counts pages in lots.
    assert 0.9 * size < peak.grown() < 2 * size


def test_a_point_survives_unless_it_is_wrong_or_its_example_holds() -> None:
    class Mean(nn.Module):
        """Class 1 from a mean of 0.5 upwards."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            bright = x.mean((1, 2, 3)) - 0.5
            return torch.stack((-bright, bright), 1)

    x = torch.tensor([0.4, 0.4, 0.4, 0.4]).view(4, 1, 1, 1).expand(4, 1, 2, 2)
    y = torch.tensor([0, 0, 0, 1])
    # Untouched, moved within the budget, moved too far, and wrong from the start.
    x_adv = torch.tensor([0.4, 0.55, 0.7, 0.4]).view(4, 1, 1, 1).expand(4, 1, 2, 2)
    robust = survivors(Mean(), x, y, x_adv, ThreatModel("Linf", 0.2))
    assert robust.tolist() == [True, False, True, False]
