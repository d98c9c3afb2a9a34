"""The protocol for a closer look at an entry that a check found doubtful."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from benchmark import ThreatModel, evaluate
from benchmark.attacks.base import Setting, Source
from benchmark.norms import norm_named
from benchmark.protocols import FOLLOW_UP, protocol_named
from tests.benchmark.models import Cnn, Robust, answers
from tests.benchmark.runs import attacked, settings

SHAPE = (1, 8, 8)


def _setting(norm: str, classes: int, *sources: Source) -> Setting:
    return Setting(norm_named(norm), 0.1, SHAPE, classes, sources)


@pytest.mark.parametrize("norm", ["Linf", "L2", "L1"])
@pytest.mark.parametrize(("classes", "targets"), [(2, 1), (4, 3), (10, 9), (100, 9)])
def test_attacks_in_order(norm: str, classes: int, targets: int) -> None:
    sources = tuple(Source(name, Robust(SHAPE, classes)) for name in ("one", "other"))
    FOLLOW_UP.check_norm(norm)
    transfer, many, square = FOLLOW_UP.attacks(_setting(norm, classes, *sources))
    assert [attack.name for attack in (transfer, many, square)] == ["transfer", "multi-targeted", "square"]
    assert [transfer.parameters[f"source {number}"] for number in (1, 2)] == ["one", "other"]
    assert (many.targets, many.parameters["iterations"], many.restarts) == (targets, 100, 5)
    assert (square.restarts, square.steps) == (30, 5000)


def test_without_sources_nothing_is_carried_over() -> None:
    names = [attack.name for attack in FOLLOW_UP.attacks(_setting("Linf", 10))]
    assert names == ["multi-targeted", "square"]


def test_it_is_found_by_name() -> None:
    assert protocol_named("follow-up") is protocol_named("follow-up-1") is FOLLOW_UP


def test_each_attack_gets_what_the_sources_left(blob_model: Cnn, blob_points: tuple[Tensor, Tensor]) -> None:
    x = blob_points[0][:40]
    y = answers(blob_model, x)
    run = replace(settings("Linf", 0.2, FOLLOW_UP), sources=(Source("a copy", blob_model),))
    report = attacked(blob_model, x, y, run).report
    assert report.protocol == "follow-up-1"
    transfer, many, square = report.attacks
    assert transfer.broken > 20
    assert (transfer.backward_passes, transfer.parameters["source 1"]) == (0, "a copy")
    assert many.attacked == 40 - transfer.broken
    assert square.attacked == many.attacked - many.broken


def test_evaluate_runs_it_without_sources(blob_model: Cnn, blob_points: tuple[Tensor, Tensor]) -> None:
    x = blob_points[0][:4]
    y = (answers(blob_model, x) + torch.tensor([0, 1, 1, 1])) % 4
    report = evaluate(blob_model, x, y, ThreatModel("Linf", "0.3"), protocol="follow-up").report
    assert [attack.name for attack in report.attacks] == ["multi-targeted", "square"]
    assert (report.attacks[0].attacked, report.robust_accuracy) == (1, 0)
