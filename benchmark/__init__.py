"""The evaluation library: threat models, attacks, restrictions, reports.

Names are imported when first used, so that reading a report or a threat model does not load torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmark.corrupted import evaluate_corruptions
    from benchmark.ensemble import EvaluationProgress
    from benchmark.errors import GauntletError
    from benchmark.pipeline import Evaluation, benchmark, evaluate
    from benchmark.report import EvaluationReport
    from benchmark.restrictions import check_restrictions
    from benchmark.threat_models import ThreatModel

_HOMES = {
    "Evaluation": "benchmark.pipeline",
    "EvaluationProgress": "benchmark.ensemble",
    "EvaluationReport": "benchmark.report",
    "GauntletError": "benchmark.errors",
    "ThreatModel": "benchmark.threat_models",
    "benchmark": "benchmark.pipeline",
    "check_restrictions": "benchmark.restrictions",
    "evaluate": "benchmark.pipeline",
    "evaluate_corruptions": "benchmark.corrupted",
}

__all__ = [
    "Evaluation",
    "EvaluationProgress",
    "EvaluationReport",
    "GauntletError",
    "ThreatModel",
    "benchmark",
    "check_restrictions",
    "evaluate",
    "evaluate_corruptions",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
