"""Adaptive sharpness: by how much the loss rises when weights are moved in proportion to their size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from benchmark import randomness
from benchmark.analysis.results import Sharpness, SharpnessAt
from benchmark.attacks.apgd import Apgd, windows
from benchmark.classifier import check_points

POINTS = 1_024
BATCH = 128
DRAWS = 20
STEPS = 20
AVERAGE_RHO = (0.05, 0.1, 0.2, 0.4)
WORST_RHO = (0.001, 0.002, 0.004, 0.008)
_TINY = 1e-12

Weights = Mapping[str, Tensor]
Loss = Callable[[Weights], Iterator[Tensor]]
"""From weights by name to the parts of a batch's loss, which are to be added: a whole batch may not fit into memory."""


def sharpness(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    split: str,
    seed: int = 0,
    average_rho: Sequence[float] = AVERAGE_RHO,
    worst_rho: Sequence[float] = WORST_RHO,
    normalised: bool = True,
    width: int = 64,
) -> Sharpness:
    """Measure elementwise adaptive sharpness, on average and in the worst case.

    A move of radius rho changes a weight w by at most rho |w|; a weight of 0 stays. On average the moves are
    Gaussian, rho |w| times a standard normal number, 20 for each radius. The worst one is searched by 20 steps of
    Auto-PGD on the cross-entropy, from the weights as they are. Both are the mean over batches of 128 points, each with
    a move of its own, of the loss after the move less the loss before it. Copies are moved: the model stays as it was.

    Args:
        model: from images (n, c, h, w) in [0, 1] to logits (n, classes), in eval mode.
        x: points, (n, c, h, w), float32 in [0, 1]; the paper takes 1,024 of the training split.
        y: labels, (n,), int64.
        split: which split they are of, for the result.
        seed: of the Gaussian moves.
        average_rho: radii of the average case.
        worst_rho: radii of the worst case.
        width: images sent through the model at once.
        normalised: whether each point's logits are divided by their standard deviation over the classes, so that
            scaling them changes nothing; of two classes this leaves the answer alone, and no loss to climb.
    Raises:
        InvalidInput: the points cannot be used.
    Source:
        Andriushchenko et al. 2023, arXiv:2302.07011, section 3; radii, points and batches of its convolutional networks
        on CIFAR-10. Auto-PGD: Croce & Hein 2020, arXiv:2003.01690, algorithm 1. Differs: it begins at the
        weights, with a step of one radius, where the attack on images begins anywhere in the ball, with two.
    """
    check_points(x, y)
    weights = {name: value.detach() for name, value in model.named_parameters()}
    batches = list(zip(x.split(BATCH), y.split(BATCH), strict=True))
    before, average, worst = 0.0, [0.0] * len(average_rho), [0.0] * len(worst_rho)
    for number, (images, labels) in enumerate(batches):
        share = len(labels) / len(y)
        loss = _loss_on(model, images, labels, width, normalised=normalised)
        here = _value(loss, weights)
        before += share * here
        for place, rho in enumerate(average_rho):
            average[place] += share * (_mean_loss(loss, weights, rho, seed, number) - here)
        for place, rho in enumerate(worst_rho):
            worst[place] += share * (worst_loss(loss, weights, rho) - here)
    return Sharpness(
        points=len(y),
        split=split,
        loss=before,
        normalised=normalised,
        average=_at(average_rho, average),
        worst=_at(worst_rho, worst),
    )


def _at(radii: Sequence[float], rises: Sequence[float]) -> tuple[SharpnessAt, ...]:
    return tuple(SharpnessAt(rho=rho, rise=rise) for rho, rise in zip(radii, rises, strict=True))


def _loss_on(model: nn.Module, x: Tensor, y: Tensor, width: int, *, normalised: bool) -> Loss:
    def loss(weights: Weights) -> Iterator[Tensor]:
        for images, labels in zip(x.split(width), y.split(width), strict=True):
            logits: Tensor = functional_call(model, dict(weights), (images,))
            if normalised:
                logits = logits / logits.std(1, correction=0, keepdim=True).clamp_min(_TINY)
            yield nn.functional.cross_entropy(logits, labels, reduction="sum") / len(y)

    return loss


def _value(loss: Loss, weights: Weights) -> float:
    with torch.no_grad():
        return sum(float(part) for part in loss(weights))


def _mean_loss(loss: Loss, weights: Weights, rho: float, seed: int, batch: int) -> float:
    """Return the mean loss over random moves; the draws of all radii are the same but for their size."""
    total = 0.0
    for draw in range(DRAWS):
        moved = {}
        for number, (name, value) in enumerate(weights.items()):
            place = torch.tensor([batch], device=value.device)
            key = randomness.item_keys(seed, "sharpness", draw, number, place)
            moved[name] = value + rho * value.abs() * randomness.normal(key, value.numel()).view_as(value)
        total += _value(loss, moved)
    return total / DRAWS


def worst_loss(loss: Loss, weights: Weights, rho: float, steps: int = STEPS) -> float:
    """Return the greatest loss that Auto-PGD finds with every weight w moved by at most rho |w|.

    Args:
        loss: of a batch.
        weights: the weights that are moved.
        rho: the radius.
        steps: how many steps are taken.
    """
    reach = {name: rho * value.abs() for name, value in weights.items()}
    now: Weights = {name: torch.zeros_like(value) for name, value in weights.items()}
    value, grad = _climbed(loss, weights, now)
    last, best, best_value, best_grad = now, now, value, grad
    # In the middle of the ball a step of the radius reaches its surface; the schedule is that of the attack.
    size, rises, halved, best_at_check = 1.0, 0, True, value
    for step, window in enumerate(windows(steps, torch.device("cpu")).tolist()[1:]):
        weight = Apgd.momentum if step else 1.0
        ahead = _confined({name: now[name] + size * reach[name] * grad[name].sign() for name in now}, reach)
        inertia = {name: (1 - weight) * (now[name] - last[name]) for name in now}
        mixed = {name: torch.lerp(now[name], ahead[name], weight) + inertia[name] for name in now}
        last, now, before = now, _confined(mixed, reach), value
        value, grad = _climbed(loss, weights, now)
        rises += value > before
        if value > best_value:
            best, best_value, best_grad = now, value, grad
        if window:
            halved = rises <= Apgd.rho * window or (not halved and best_at_check >= best_value)
            if halved:
                size /= 2
                now, value, grad = best, best_value, best_grad
            rises, best_at_check = 0, best_value
    return best_value


def _climbed(loss: Loss, weights: Weights, moves: Weights) -> tuple[float, Weights]:
    """Return the loss of moved weights, and its gradient."""
    moved = {name: (value + moves[name]).requires_grad_() for name, value in weights.items()}
    total, grads = 0.0, {name: torch.zeros_like(value) for name, value in weights.items()}
    for part in loss(moved):
        found = torch.autograd.grad(part, list(moved.values()), allow_unused=True, materialize_grads=True)
        for name, grad in zip(moved, found, strict=True):
            grads[name] += grad
        total += float(part.detach())
    return total, grads


def _confined(moves: Weights, reach: Weights) -> Weights:
    return {name: move.clamp(-reach[name], reach[name]) for name, move in moves.items()}
