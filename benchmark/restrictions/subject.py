"""What every restriction looks at, and how it says what it found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn

from benchmark.graph import Graph
from benchmark.norms import Norm, norm_named
from benchmark.report import Check, CheckOutcome
from benchmark.restrictions.flow import Flow
from benchmark.rules import Rule
from benchmark.threat_models import ThreatModel

SAMPLE = 64
"""Points that most restrictions look at."""
_ARITHMETIC = 1e-4
"""Share of the logits' length below which a difference may be rounding."""


@dataclass(frozen=True)
class Subject:
    """A model under examination, in eval mode and frozen.

    Args:
        model: from images in [0, 1] to logits.
        x: clean points, (n, c, h, w), float32.
        y: their labels, (n,), int64.
        threat_model: what the attacker may do.
        classes: number of classes the data set has; None where only the points are known.
        twin: points of the same kind, with labels, on which nobody ranks; None where there are none.
    """

    model: nn.Module
    all_x: Tensor
    all_y: Tensor
    threat_model: ThreatModel
    classes: int | None = None
    twin: tuple[Tensor, Tensor] | None = None
    x: Tensor = field(init=False)
    """A sample of the points, (n, c, h, w), n at most 64."""
    y: Tensor = field(init=False)

    def __post_init__(self) -> None:
        # Cloned here, for labels made under inference mode could not take part in a gradient.
        object.__setattr__(self, "x", self.all_x[:SAMPLE].detach().clone())
        object.__setattr__(self, "y", self.all_y[:SAMPLE].clone())

    @property
    def norm(self) -> Norm:
        """Geometry of the threat model."""
        return norm_named(self.threat_model.norm)

    def answer(self) -> object:
        """Run one forward pass on the sample and return whatever the model gives."""
        with torch.no_grad():
            return self.model(self.x.clone())

    def recorded_answer(self) -> object:
        """Run one forward pass while gradients are recorded, on images that want one."""
        with torch.enable_grad():
            return self.model(self.x.clone().requires_grad_().clone())

    def logits(self, x: Tensor | None = None) -> Tensor:
        """Run one forward pass of a model that is known to answer with logits.

        Args:
            x: images, (n, c, h, w); the sample by default.
        """
        # A copy, so that a model that writes into its input does not write into the sample.
        images = (self.x if x is None else x).clone()
        with torch.no_grad():
            return torch.as_tensor(self.model(images)).float()

    def logits_of_all(self, x: Tensor) -> Tensor:
        """Run any number of images, a sample at a time."""
        return torch.cat([self.logits(rows) for rows in x.split(SAMPLE)])

    def gradient(self, objective: Callable[[Tensor], Tensor], x: Tensor | None = None) -> Tensor | None:
        """Return the gradient of an objective, summed over the images, with respect to them; None where there is none.

        Args:
            objective: from logits, (n, classes), to numbers.
            x: images, (n, c, h, w); the sample by default.
        """
        with torch.enable_grad():
            leaf = (self.x if x is None else x).clone().requires_grad_()
            value = objective(torch.as_tensor(self.model(leaf.clone())).float())
            if not value.requires_grad:
                return None
            (grad,) = torch.autograd.grad(value.sum(), leaf, allow_unused=True)
        return None if grad is None else torch.nan_to_num(grad)

    @cached_property
    def clean_logits(self) -> Tensor:
        """Logits of the sample, (n, classes)."""
        return self.logits()

    @cached_property
    def spread(self) -> float:
        """Mean distance of the sample's logits from their mean: the measure of how far logits have moved.

        Where all images get nearly the same logits, as from a network that was never trained, it is not less than what
        arithmetic alone can move them by.
        """
        logits = self.clean_logits
        centred = logits - logits.mean(1, keepdim=True)
        least = _ARITHMETIC * centred.norm(dim=1).mean()
        return float(torch.maximum((logits - logits.mean(0)).norm(dim=1).mean(), least)) + 1e-10


OnModel = Callable[[Subject], Check]
OnGraph = Callable[[Flow], Check]


@dataclass(frozen=True)
class Restriction:
    """An admission rule: what is looked for, in the model as it behaves and in its graph as it is written.

    Args:
        rule: in words.
        on_model: looks at the model; None where only the graph, or only the whole evaluation, can tell.
        on_graph: looks at the graph; None where a graph tells nothing.
    """

    rule: Rule
    on_model: OnModel | None = None
    on_graph: OnGraph | None = None

    @property
    def code(self) -> str:
        """Code of the check on the model."""
        return self.rule.code

    @property
    def graph_code(self) -> str:
        """Code of the check on the graph."""
        return self.rule.graph_code


def graded(
    code: str,
    message: str,
    value: float,
    *,
    reject_from: float | None = None,
    flag_from: float | None = None,
    remedy: str,
) -> Check:
    """Return the check of a value that is the worse the greater it is.

    Args:
        code: of the check.
        message: what was measured.
        value: the measured value.
        reject_from: the least value that is rejected; None where none is.
        flag_from: the least value that is flagged; None where none is.
        remedy: for its author, where it is not passed.
    """
    outcome, threshold = CheckOutcome.PASSED, flag_from if flag_from is not None else reject_from
    if reject_from is not None and value >= reject_from:
        outcome, threshold = CheckOutcome.REJECTED, reject_from
    elif flag_from is not None and value >= flag_from:
        outcome = CheckOutcome.FLAGGED
    return Check(
        code=code,
        outcome=outcome,
        value=value,
        threshold=threshold,
        message=message,
        remedy="" if outcome is CheckOutcome.PASSED else remedy,
    )


def not_assessed(code: str, why: str, remedy: str) -> Check:
    """Return a check that could not be made."""
    return Check(code=code, outcome=CheckOutcome.NOT_ASSESSED, message=f"Not assessed: {why}.", remedy=remedy)


__all__ = ["Graph", "Restriction", "Subject", "graded", "not_assessed"]
