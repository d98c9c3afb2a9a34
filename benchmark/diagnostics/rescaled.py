"""The size of the logits must not protect the model."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmark import losses
from benchmark.classifier import Classifier
from benchmark.diagnostics.reading import Reading, least_share
from benchmark.diagnostics.sample import Sample
from benchmark.report import Evidence
from benchmark.restrictions.softmax_output import TOLERANCE, distance_from_probabilities

_ATTACK = "apgd-ce(steps=50)"
"""That of `Sample.cross_entropy`, so that nothing differs but the answers."""
_SHARE = 0.1
_LEAST, _GREATEST = 0.1, 1.0
"""Between these a mean margin is left alone: the cross-entropy saturates with great ones and is flat with tiny ones."""
_READING = Reading(
    code="rescaled_logits_help",
    flagged="Rescaled, the answers are ranked as before but easier to attack: their size alone saturates the loss. "
    "Attacks on the cross-entropy find too little here; what counts are those on ratios of logits.",
    passed="Answers of another size are no easier to attack, so the loss did not saturate.",
    remedy="Return logits of ordinary size: without a last scale or temperature, and from before any softmax.",
)


class _Rescaled(nn.Module):
    """A model whose answers are ranked as before but have margins that suit the cross-entropy.

    Args:
        model: from images to logits or probabilities.
        dtype: in which it computes.
        probabilities: whether it answers with probabilities, whose logarithms are then the logits.
        divisor: of the logits.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype, *, probabilities: bool, divisor: float = 1.0) -> None:
        super().__init__()
        self.model = model
        self.dtype = dtype
        self.probabilities = probabilities
        self.divisor = divisor

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, (n, classes), the highest of them 0, so that a common offset costs no digits."""
        logits: Tensor = self.model(x.to(self.dtype)).to(self.dtype)
        if self.probabilities:
            logits = (logits.clamp_min(0) + torch.finfo(self.dtype).tiny).log()
        return (logits - logits.detach().amax(1, keepdim=True)) / self.divisor


@dataclass(frozen=True)
class _Attacked:
    """What an attack on rescaled answers found.

    Args:
        broken: the points, (n,).
        margin: mean margin of the logits before they were divided.
    """

    broken: Tensor
    margin: float


def rescaled_logits_help(sample: Sample) -> Evidence:
    """Flag a model whose rescaled answers let an attack on the cross-entropy break points that it leaves otherwise.

    Of probabilities the logarithm is taken. Logits are divided so that their mean margin is at most 1 and at least 0.1.
    A copy of the model in float64 is attacked as well, where it can be made.

    Measured: at most 2 of 64 points on honest models in Linf and L2, and 5 in L1, where single attacks stall; 8 or 9
    and 61 with logits of a hundred to a million times the size, PGD-trained and undefended; 52 in float64 and 34 in
    float32 where ten times the logits pass through a softmax.

    Source:
        Carlini & Wagner 2016, arXiv:1607.04311, divide the logits of distilled networks; Carlini et al. 2019,
        arXiv:1902.06705.
    """
    points, threshold = len(sample), least_share(len(sample), _SHARE)
    probabilities = distance_from_probabilities(sample.classifier.logits_of_all(sample.flat)) <= TOLERANCE
    plain = sample.cross_entropy
    single = _attacked(sample, _Rescaled(sample.model, torch.float32, probabilities=probabilities))
    numbers = {
        "points": points,
        "mean_margin": single.margin,
        "broken_as_they_are": int(plain.sum()),
        "broken_rescaled": int(single.broken.sum()),
    }
    try:
        double = _attacked(sample, _Rescaled(_in_float64(sample), torch.float64, probabilities=probabilities))
    except Exception as error:  # noqa: BLE001 - a model need not be copyable, nor able to compute in float64
        found = single.broken
        tried = f"tried in float32; not assessed in float64, {type(error).__name__}: {str(error)[:200]}"
    else:
        found, tried = single.broken | double.broken, "tried in float32 and float64"
        numbers["broken_rescaled_float64"] = int(double.broken.sum())
    missed = int((found & ~plain).sum())
    return _READING.evidence(
        flagged=missed / points >= threshold,
        value=missed / points,
        threshold=threshold,
        message=f"Rescaled, {missed} of {points} points broke that had not as they were; {tried.rstrip('.')}.",
        numbers=numbers | {"broken_rescaled_alone": missed},
    )


def _in_float64(sample: Sample) -> nn.Module:
    """Return a copy of the model that computes in float64.

    Raises:
        ValueError: the copy still answers in another type, so that it rounds as the model does.
    """
    precise = copy.deepcopy(sample.model).double()
    with torch.no_grad():
        found = precise(sample.x.double()).dtype
    if found is not torch.float64:
        raise ValueError(f"a copy in float64 answers in {found}")
    return precise


def _attacked(sample: Sample, model: _Rescaled) -> _Attacked:
    """Set the divisor by the mean margin on the sample, and attack."""
    logits = Classifier(model, sample.classifier.image_shape, sample.width).logits_of_all(sample.flat)
    margin = float(losses.margin(logits, sample.y).double().mean())
    model.divisor = max(margin, torch.finfo(torch.float32).tiny) / min(max(margin, _LEAST), _GREATEST)
    return _Attacked(sample.attack(_ATTACK, through=model), margin)
