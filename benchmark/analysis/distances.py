"""Minimum-norm distances: how far the closest adversarial example of each point lies."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmark.analysis.results import Distances
from benchmark.attacks.base import Slots
from benchmark.attacks.fab import FabT
from benchmark.classifier import Classifier, check_points, frozen
from benchmark.judging import judge
from benchmark.norms import Norm, norm_named

ITERATIONS = 100
TARGETS = 9


def distances(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    norm_name: str,
    *,
    iterations: int = ITERATIONS,
    targets: int = TARGETS,
    width: int = 64,
) -> Distances:
    """Search the closest example of every point by targeted FAB, whatever its distance.

    For each of the classes that the model finds likeliest beside the label, FAB linearises, steps towards the boundary
    and, once it is across, comes back nine tenths of the way; of all examples of a point the closest counts. It is then
    judged. A distance is an upper bound: there may be a closer example. There is no random draw.

    Args:
        model: from images (n, c, h, w) in [0, 1] to logits (n, classes), in eval mode.
        x: clean points, (n, c, h, w), float32 in [0, 1].
        y: labels, (n,), int64.
        norm_name: "Linf", "L2" or "L1".
        iterations: steps for each target.
        targets: classes tried, at most.
        width: rows of a batch.
    Raises:
        InvalidInput: the points cannot be used.
        UnsupportedNorm: there is no such norm.
        EvaluationFailed: the model failed.
    Source:
        Croce & Hein 2020, arXiv:1907.02044, algorithm 1, without restarts; targets as in arXiv:2003.01690, section 4.
    """
    check_points(x, y)
    norm, flat = norm_named(norm_name), x.flatten(1)
    channels, height, columns = x.shape[1:]
    with frozen(model):
        classifier = Classifier(model, (channels, height, columns), width)
        logits = classifier.logits_of_all(flat)
        closest, found = flat.clone(), logits.argmax(1) != y
        others = logits.scatter(1, y[:, None], -torch.inf).argsort(1, descending=True)[:, : logits.shape[1] - 1]
        attack = FabT(norm, _anywhere(norm, flat.shape[1]), (channels, height, columns), iterations=iterations)
        for rows in torch.nonzero(~found).flatten().split(width):
            best, across = _closest(attack, classifier, flat[rows], y[rows], others[rows][:, :targets])
            closest[rows], found[rows] = best, across
        confirmed = judge(classifier, flat, y, closest, norm, _anywhere(norm, flat.shape[1]))
    return _summed_up(torch.where(found & confirmed.broken, confirmed.distance, torch.inf))


def _anywhere(norm: Norm, size: int) -> float:
    """Return a budget that reaches every image: the longest distance in the box."""
    return float(norm.distance(torch.ones(1, size, dtype=torch.float64)))


def _closest(attack: FabT, classifier: Classifier, x: Tensor, y: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Return the closest example of each point, (n, d), and whether there is one, (n,)."""
    best, least = x.clone(), torch.full_like(x[:, 0], torch.inf)
    zeros = torch.zeros_like(y)
    for target in others.unbind(1):
        state = attack.start(Slots(x=x, y=y, target=target, key=zeros, restart=zeros, step=zeros))
        for _ in range(attack.steps):
            proposal = attack.step(state, classifier, len(x))
            distance = torch.where(proposal.broken, attack.norm.distance(proposal.x_adv - x), torch.inf)
            closer = torch.nonzero(distance < least).flatten()
            best[closer], least[closer] = proposal.x_adv[closer], distance[closer]
    return best, least.isfinite()


def _summed_up(lengths: Tensor) -> Distances:
    ordered = lengths.double().sort().values
    # The nearest rank: a mean of two would be infinite where only one of them is.
    low, middle, high = (_finite(ordered[round(part * (len(ordered) - 1))]) for part in (0.1, 0.5, 0.9))
    return Distances(
        points=len(lengths),
        found=int(lengths.isfinite().sum()),
        quantile_10=low,
        median=middle,
        quantile_90=high,
        distances=tuple(_finite(length) for length in lengths.double()),
    )


def _finite(length: Tensor) -> float | None:
    return float(length) if bool(length.isfinite()) else None
