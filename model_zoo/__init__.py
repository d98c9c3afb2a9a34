"""The model zoo: registered architectures, models with cards and checkpoints, and the recipes that trained them.

Names are imported when first used, so that reading the cards does not load torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model_zoo.building import build, load_model
    from model_zoo.registry import list_models

_HOMES = {
    "build": "model_zoo.building",
    "list_models": "model_zoo.registry",
    "load_model": "model_zoo.building",
}

__all__ = ["build", "list_models", "load_model"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
