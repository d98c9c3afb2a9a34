"""Runs of the diagnostics, all of them or a single one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmark.classifier import frozen
from benchmark.diagnostics import DIAGNOSTICS, run_diagnostics
from benchmark.diagnostics.sample import Sample
from benchmark.report import CheckOutcome, Evidence
from benchmark.threat_models import ThreatModel
from tests.benchmark.masked import eight_bits
from tests.benchmark.models import Shape, blobs

CPU = torch.device("cpu")
SHAPE: Shape = (1, 8, 8)
LITTLE, MUCH = ThreatModel("Linf", "1/10"), ThreatModel("Linf", "1/4")
"""Within the first, the trained network keeps most of the blobs; within the second it loses all."""


def digital_blobs(n: int) -> tuple[Tensor, Tensor]:
    """Blobs as files hold them."""
    x, y = blobs(n, seed=2)
    return eight_bits(x), y


def sample_of(
    model: nn.Module, x: Tensor, y: Tensor, threat_model: ThreatModel, *, seed: int = 0, width: int = 64
) -> Sample:
    return Sample.of(model, x, y, range(len(x)), threat_model, seed=seed, width=width, device=CPU)


def single(code: str, model: nn.Module, x: Tensor, y: Tensor, threat_model: ThreatModel, *, seed: int = 0) -> Evidence:
    """The evidence of one test."""
    with frozen(model):
        return DIAGNOSTICS[code](sample_of(model, x, y, threat_model, seed=seed))


def evidence_of(
    model: nn.Module, x: Tensor, y: Tensor, threat_model: ThreatModel, *, seed: int = 0
) -> dict[str, Evidence]:
    """The evidence of every test by code, each seen to be complete."""
    found = run_diagnostics(model, x, y, range(len(x)), threat_model, seed=seed, width=64, device=CPU)
    assert [evidence.code for evidence in found] == list(DIAGNOSTICS)
    for evidence in found:
        assessed = evidence.outcome is not CheckOutcome.NOT_ASSESSED
        assert Evidence.model_validate_json(evidence.model_dump_json()) == evidence
        assert evidence.message
        assert evidence.meaning
        assert bool(evidence.remedy) == (evidence.outcome is not CheckOutcome.PASSED)
        assert (evidence.value is not None, evidence.threshold is not None) == (assessed, assessed)
    return {evidence.code: evidence for evidence in found}


def flagged(found: dict[str, Evidence]) -> set[str]:
    return {code for code, evidence in found.items() if evidence.outcome is CheckOutcome.FLAGGED}
