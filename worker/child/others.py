"""Other models of the board, inside the child."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from benchmark.errors import GauntletError
from model_zoo.loading import load_submitted
from worker.messages import SOURCE_FILE, Request


def other_models(request: Request, device: torch.device) -> Iterator[tuple[str, nn.Module]]:
    """Load the other models with their names; one that cannot be loaded is left out, as the result then says."""
    for number, other in enumerate(request.sources):
        try:
            model = load_submitted(Path(SOURCE_FILE.format(number)), other.architecture, request.dataset)
        except GauntletError as error:
            print(f"the model {other.name} is left out: {error}", file=sys.stderr)  # noqa: T201
            continue
        yield other.name, model.to(device)
