"""Gauntlet, the front door: what other programs use, loaded on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmark import ThreatModel, benchmark, check_restrictions, evaluate, evaluate_corruptions
    from benchmark.errors import GauntletError
    from gauntlet.client import Client
    from gauntlet.converting import convert
    from gauntlet.exporting import export
    from model_zoo import load_model

__version__ = "0.1.0"

__all__ = [
    "Client",
    "GauntletError",
    "ThreatModel",
    "benchmark",
    "check_restrictions",
    "convert",
    "evaluate",
    "evaluate_corruptions",
    "export",
    "load_model",
]

_HOMES = {
    "Client": "gauntlet.client",
    "GauntletError": "benchmark.errors",
    "ThreatModel": "benchmark.threat_models",
    "benchmark": "benchmark",
    "check_restrictions": "benchmark",
    "convert": "gauntlet.converting",
    "evaluate": "benchmark",
    "evaluate_corruptions": "benchmark",
    "export": "gauntlet.exporting",
    "load_model": "model_zoo",
}


def __getattr__(name: str) -> object:
    """Import a public name from its home, so that the service can be imported without torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'gauntlet' has no attribute {name!r}")
    value: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
