"""What every restriction looks at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmark.report import Check, CheckOutcome
from benchmark.threat_models import ThreatModel


@dataclass(frozen=True)
class Subject:
    """A model under examination, in eval mode and frozen.

    Args:
        model: from images in [0, 1] to logits.
        x: a sample of clean points, (n, c, h, w), float32.
        y: their labels, (n,), int64.
        threat_model: what the attacker may do.
        classes: number of classes the data set has; None where only the sample is known.
    """

    model: nn.Module
    x: Tensor
    y: Tensor
    threat_model: ThreatModel
    classes: int | None = None

    def answer(self) -> object:
        """Run one forward pass and return whatever the model gives."""
        with torch.no_grad():
            return self.model(self._images())

    def recorded_answer(self) -> object:
        """Run one forward pass while gradients are recorded, on images that want one."""
        with torch.enable_grad():
            return self.model(self._images().requires_grad_().clone())

    def logits(self) -> Tensor:
        """Run one forward pass of a model that is known to answer with logits."""
        with torch.no_grad():
            return torch.as_tensor(self.model(self._images())).float()

    def _images(self) -> Tensor:
        # A copy, so that a model that writes into its input does not write into the sample.
        return self.x.detach().clone()


Restriction = Callable[[Subject], Check]


def passed(code: str, message: str, value: float | None = None, threshold: float | None = None) -> Check:
    """Return a passed check."""
    return Check(code=code, outcome=CheckOutcome.PASSED, value=value, threshold=threshold, message=message)
