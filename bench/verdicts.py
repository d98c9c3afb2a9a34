"""Our judge on anybody's adversarial examples, so that all sides answer to the same rule."""

from __future__ import annotations

from torch import Tensor, nn

from benchmark import ThreatModel
from benchmark.classifier import Classifier
from benchmark.judging import judge, misclassified
from benchmark.norms import norm_named

WIDTH = 64
"""Rows of a full batch: what `benchmark.evaluate` takes on a CPU."""


def survivors(model: nn.Module, x: Tensor, y: Tensor, x_adv: Tensor, threat_model: ThreatModel) -> Tensor:
    """Return which points are classified correctly and not broken by the examples given for them, (n,)."""
    classifier = Classifier(model, (x.shape[1], x.shape[2], x.shape[3]), WIDTH)
    verdict = judge(classifier, x.flatten(1), y, x_adv.flatten(1), norm_named(threat_model.norm), threat_model.radius)
    return ~(verdict.broken | misclassified(classifier.logits_of_all(x.flatten(1)), y))
