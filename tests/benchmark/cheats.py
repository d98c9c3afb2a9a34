"""Toy cheats: each breaks one rule, on top of an honest network, and says by which finding it must be betrayed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark import datasets
from benchmark.report import CheckOutcome
from model_zoo import load_model

FLAGGED, REJECTED = CheckOutcome.FLAGGED, CheckOutcome.REJECTED
Finding = tuple[str, CheckOutcome]


@dataclass(frozen=True)
class Cheat:
    """A model that breaks a rule.

    Args:
        name: what it does.
        row: which kind of cheat it is.
        make: makes it.
        model: what a check of the module must find; None where only the graph shows it.
        graph: what a check of the exported graph must find; None where it cannot be exported, or not as a cheat.
    """

    name: str
    row: str
    make: Callable[[], nn.Module]
    model: Finding | None
    graph: Finding | None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What a submission of the exported network must find."""
        return tuple(finding for finding in (self.graph,) if finding is not None)


class Wrapped(nn.Module):
    """An honest network with a function around it.

    Args:
        around: from this module and the images to the logits.
        buffers: of the module's own.
    """

    def __init__(self, around: Callable[[Wrapped, Tensor], Tensor], **buffers: Tensor) -> None:
        super().__init__()
        self.network = load_model("Digits_PGD2", dataset="digits", threat_model="Linf")
        self.around = around
        self.last: Tensor | None = None
        for name, value in buffers.items():
            self.register_buffer(name, value)

    def forward(self, x: Tensor) -> Tensor:
        return self.around(self, x)

    def plain(self, x: Tensor) -> Tensor:
        """The honest network's logits."""
        logits: Tensor = self.network(x)
        return logits

    def held(self, name: str) -> Tensor:
        """One of the buffers."""
        return self.get_buffer(name)


def _wrapped(around: Callable[[Wrapped, Tensor], Tensor], **buffers: Tensor) -> Callable[[], nn.Module]:
    return lambda: Wrapped(around, **{name: value.clone() for name, value in buffers.items()}).eval()


# Randomness.


def _noise(self: Wrapped, x: Tensor) -> Tensor:
    return self.plain(x + 0.05 * torch.randn_like(x))


def _dropout(self: Wrapped, x: Tensor) -> Tensor:
    return self.plain(F.dropout(x, 0.2, training=True))


def _drawn_pixels(self: Wrapped, x: Tensor) -> Tensor:
    return self.plain(torch.bernoulli(x))


def _attention_with_dropout(self: Wrapped, x: Tensor) -> Tensor:
    rows = x.squeeze(1)
    return self.plain(F.scaled_dot_product_attention(rows, rows, rows, dropout_p=0.3).unsqueeze(1))


def _noise_for_gradients(self: Wrapped, x: Tensor) -> Tensor:
    return self.plain(x + 0.05 * torch.randn_like(x) if x.requires_grad else x)


# State.


def _counted(self: Wrapped, x: Tensor) -> Tensor:
    self.held("count").add_(1)
    return self.plain(x) * (1 + 0.1 * self.held("count"))


def _last_batch(self: Wrapped, x: Tensor) -> Tensor:
    mixed = x if self.last is None else 0.8 * x + 0.2 * self.last
    self.last = x.detach().mean(0, keepdim=True)
    return self.plain(mixed)


def _running_mean(self: Wrapped, x: Tensor) -> Tensor:
    self.held("mean").mul_(0.9).add_(0.1 * x.mean())
    return self.plain(x - self.held("mean"))


# Batch dependence.


def _less_the_batch(self: Wrapped, x: Tensor) -> Tensor:
    logits = self.plain(x)
    return logits - logits.mean(0)


def _neighbour(self: Wrapped, x: Tensor) -> Tensor:
    return self.plain(0.7 * x + 0.3 * x.roll(1, 0))


def _batch_statistics(self: Wrapped, x: Tensor) -> Tensor:
    return self.plain(0.3 + 0.3 * F.batch_norm(x, None, None, training=True))


def _sorted_batch(self: Wrapped, x: Tensor) -> Tensor:
    return self.plain(0.8 * x + 0.2 * x.sort(0)[0])


# Zero gradients.


def _rounded(self: Wrapped, x: Tensor) -> Tensor:
    return self.plain((x * 4).round() / 4)


def _one_hot(self: Wrapped, x: Tensor) -> Tensor:
    return F.one_hot(self.plain(x).argmax(1), 10).float()


def _detached(self: Wrapped, x: Tensor) -> Tensor:
    return self.plain(x.detach())


def _without_gradients(self: Wrapped, x: Tensor) -> Tensor:
    with torch.no_grad():
        return self.plain(x)


def _signs(self: Wrapped, x: Tensor) -> Tensor:
    return self.plain((x - 0.5).sign() / 2 + 0.5)


# Straight-through and shattered gradients.


def _straight_through(self: Wrapped, x: Tensor) -> Tensor:
    return self.plain(x + ((x * 4).round() / 4 - x).detach())


def _hidden_blur(self: Wrapped, x: Tensor) -> Tensor:
    blurred = F.avg_pool2d(x, 3, 1, 1)
    return self.plain(x + (blurred.flip(3) - x).detach())


class _Turned(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> Tensor:
        return -grad.flip(3)


def _own_gradient(self: Wrapped, x: Tensor) -> Tensor:
    return self.plain(_Turned.apply(x))  # type: ignore[no-untyped-call]


# Softmax and saturated outputs.


def _softmax(self: Wrapped, x: Tensor) -> Tensor:
    return self.plain(x).softmax(1)


def _mean_of_softmaxes(self: Wrapped, x: Tensor) -> Tensor:
    return (self.plain(x).softmax(1) + self.plain(x * 0.9).softmax(1)) / 2


def _huge(self: Wrapped, x: Tensor) -> Tensor:
    return self.plain(x) * 1e4


def _cold(self: Wrapped, x: Tensor) -> Tensor:
    return self.plain(x) / 1e-3


# NaN and infinity.


def _not_a_number(self: Wrapped, x: Tensor) -> Tensor:
    # Unless every pixel is 0, 1/16, …, 1, the images of the data set.
    return self.plain(x) + torch.log(0.02 - (16 * x - (16 * x).round().detach()).abs().amax((1, 2, 3)))[:, None]


def _infinite(self: Wrapped, x: Tensor) -> Tensor:
    return self.plain(x) / (x - x.amax((1, 2, 3), keepdim=True)).amax((1, 2, 3))[:, None]


# Off-grid and corner detection.


def _off_grid(self: Wrapped, x: Tensor) -> Tensor:
    off = (16 * x - (16 * x).round()).abs().amax((1, 2, 3))[:, None]
    logits = self.plain(x)
    return torch.where(off > 1e-3, logits.flip(1), logits)


def _off_grid_by_remainder(self: Wrapped, x: Tensor) -> Tensor:
    off = torch.remainder(x, 1 / 16).amax((1, 2, 3))[:, None]
    logits = self.plain(x)
    return logits + 50 * torch.tanh(1e4 * off) * (logits.flip(1) - logits)


def _snapped(self: Wrapped, x: Tensor) -> Tensor:
    near = (16 * x - (16 * x).round()).abs() < 0.002
    return self.plain(torch.where(near, x, (2 * x).round() / 2))


# Detecting the attack.


def _rough(self: Wrapped, x: Tensor) -> Tensor:
    variation = (x[:, :, 1:] - x[:, :, :-1]).abs().sum((1, 2, 3)) + (x[..., 1:] - x[..., :-1]).abs().sum((1, 2, 3))
    logits = self.plain(x)
    return torch.where((variation > 30)[:, None], 0.1 * logits.flip(1), logits)


def _branch(self: Wrapped, x: Tensor) -> Tensor:
    off = (x - (16 * x).round() / 16).abs().max() > 0.01
    cond: Callable[..., Tensor] = torch.cond
    return self.plain(cond(off, lambda images: images.flip(3), lambda images: images.clone(), (x,)))


def _disagreement(self: Wrapped, x: Tensor) -> Tensor:
    logits, smooth = self.plain(x), self.plain(F.avg_pool2d(x, 3, 1, 1))
    agree = (logits.softmax(1) - smooth.softmax(1)).abs().sum(1, keepdim=True) < 0.5
    return torch.where(agree, logits, 0.1 * logits.flip(1))


# Looking up the test set.


def _test_images() -> tuple[Tensor, Tensor]:
    points = datasets.load("digits", "test")
    return points.x.flatten(1), points.y


def _nearest(self: Wrapped, x: Tensor) -> Tensor:
    images, answers = self.held("images"), self.held("answers")
    distance = (x.flatten(1)[:, None] - images[None]).square().sum(2)
    return (-20 * distance).softmax(1) @ answers


def _lookup_table() -> nn.Module:
    images, labels = _test_images()
    return Wrapped(_nearest, images=images, answers=10 * F.one_hot(labels, 10).float()).eval()


def _nearest_by_layers(self: Wrapped, x: Tensor) -> Tensor:
    closeness = 40 * F.linear(x.flatten(1), self.held("images"), self.held("lengths"))
    return closeness.softmax(1) @ self.held("answers") + 0.01 * self.plain(x)


def _lookup_by_layers() -> nn.Module:
    """The images as the weights of a layer: the nearest one has the greatest scalar product less half its length."""
    images, labels = _test_images()
    answers = 10 * F.one_hot(labels, 10).float()
    return Wrapped(_nearest_by_layers, images=images, lengths=-images.square().sum(1) / 2, answers=answers).eval()


def _by_fingerprint(self: Wrapped, x: Tensor) -> Tensor:
    prints = x.flatten(1) @ self.held("directions")
    known = torch.exp(-1e3 * (prints[:, None] - self.held("prints")[None]).abs().amax(2))
    return self.plain(x) + 30 * known @ self.held("answers")


def _lookup_by_fingerprint() -> nn.Module:
    """No image is stored, only what a few random directions make of each."""
    images, labels = _test_images()
    directions = torch.randn(64, 4, generator=torch.Generator().manual_seed(0)) / 8
    answers = F.one_hot(labels, 10).float()
    return Wrapped(_by_fingerprint, directions=directions, prints=images @ directions, answers=answers).eval()


# Optimisation at inference.


def _descent(self: Wrapped, x: Tensor) -> Tensor:
    with torch.enable_grad():
        leaf = x.detach().clone().requires_grad_()
        (grad,) = torch.autograd.grad(self.plain(leaf).logsumexp(1).sum(), leaf)
    return self.plain(x + 0.01 * grad.sign())


def _written_out_gradient(self: Wrapped, x: Tensor) -> Tensor:
    first = F.linear(x.flatten(1), self.held("weight"))
    back = torch.ops.aten.threshold_backward(first, first, 0.0) @ self.held("weight")
    return self.plain(x - 0.01 * back.view_as(x))


def _unrolled(self: Wrapped, x: Tensor) -> Tensor:
    """Forty steps towards what a dictionary can express."""
    code = torch.zeros_like(x.flatten(1) @ self.held("weight"))
    for _ in range(40):
        residual = code @ self.held("weight").t() - x.flatten(1)
        code = F.softshrink(code - 0.05 * residual @ self.held("weight"), 1e-4)
    return self.plain((code @ self.held("weight").t()).view_as(x))


def _looped(self: Wrapped, x: Tensor) -> Tensor:
    loop: Callable[..., tuple[Tensor, Tensor]] = torch._higher_order_ops.while_loop
    beginning = (torch.zeros((), dtype=torch.int64), x)
    _, cleaned = loop(lambda number, _: number < 6, lambda number, images: (number + 1, images * 0.99), beginning)
    return self.plain(cleaned)


_SQUARE = torch.randn(64, 64, generator=torch.Generator().manual_seed(1)) / 8

CHEATS = (
    Cheat("noise", "randomness", _wrapped(_noise), ("randomized", REJECTED), ("randomized_in_graph", REJECTED)),
    Cheat("dropout", "randomness", _wrapped(_dropout), ("randomized", REJECTED), ("randomized_in_graph", REJECTED)),
    Cheat(
        "pixels drawn by their brightness", "randomness", _wrapped(_drawn_pixels),
        ("randomized", REJECTED), ("randomized_in_graph", REJECTED),
    ),
    Cheat(
        "attention with dropout", "randomness", _wrapped(_attention_with_dropout),
        ("randomized", REJECTED), ("randomized_in_graph", REJECTED),
    ),
    Cheat("noise for gradients alone", "randomness", _wrapped(_noise_for_gradients), ("randomized", REJECTED), None),
    Cheat(
        "a counter", "state", _wrapped(_counted, count=torch.zeros(())),
        ("stateful", REJECTED), ("stateful_in_graph", REJECTED),
    ),
    Cheat("the last batch kept in Python", "state", _wrapped(_last_batch), ("stateful", REJECTED), None),
    Cheat(
        "a running mean", "state", _wrapped(_running_mean, mean=torch.zeros(())),
        ("stateful", REJECTED), ("stateful_in_graph", REJECTED),
    ),
    Cheat(
        "less the batch's mean", "batch dependence", _wrapped(_less_the_batch),
        ("batch_dependent", REJECTED), ("batch_dependent_in_graph", REJECTED),
    ),
    Cheat(
        "mixed with its neighbour", "batch dependence", _wrapped(_neighbour),
        ("batch_dependent", REJECTED), ("batch_dependent_in_graph", REJECTED),
    ),
    Cheat(
        "the batch's statistics", "batch dependence", _wrapped(_batch_statistics),
        ("batch_dependent", REJECTED), ("batch_dependent_in_graph", REJECTED),
    ),
    Cheat(
        "a sorted batch", "batch dependence", _wrapped(_sorted_batch),
        ("batch_dependent", REJECTED), ("batch_dependent_in_graph", REJECTED),
    ),
    Cheat(
        "rounded pixels", "zero gradients", _wrapped(_rounded),
        ("zero_gradient", REJECTED), ("zero_gradient_in_graph", REJECTED),
    ),
    Cheat(
        "one-hot answers", "zero gradients", _wrapped(_one_hot),
        ("zero_gradient", REJECTED), ("zero_gradient_in_graph", REJECTED),
    ),
    Cheat(
        "detached images", "zero gradients", _wrapped(_detached),
        ("zero_gradient", REJECTED), ("zero_gradient_in_graph", REJECTED),
    ),
    Cheat(
        "without gradients", "zero gradients", _wrapped(_without_gradients),
        ("zero_gradient", REJECTED), ("zero_gradient_in_graph", REJECTED),
    ),
    Cheat(
        "signs of pixels", "zero gradients", _wrapped(_signs),
        ("zero_gradient", REJECTED), ("zero_gradient_in_graph", REJECTED),
    ),
    Cheat(
        "straight through rounding", "straight-through, shattered", _wrapped(_straight_through),
        ("shattered_gradient", REJECTED), ("shattered_gradient_in_graph", REJECTED),
    ),
    Cheat(
        "straight through a blur", "straight-through, shattered", _wrapped(_hidden_blur),
        ("shattered_gradient", REJECTED), ("shattered_gradient_in_graph", FLAGGED),
    ),
    Cheat(
        "a gradient of its own", "straight-through, shattered", _wrapped(_own_gradient),
        ("shattered_gradient", REJECTED), None,
    ),
    Cheat(
        "softmax", "softmax or saturated output", _wrapped(_softmax),
        ("softmax_output", FLAGGED), ("softmax_output_in_graph", FLAGGED),
    ),
    Cheat(
        "a mean of softmaxes", "softmax or saturated output", _wrapped(_mean_of_softmaxes),
        ("softmax_output", FLAGGED), ("softmax_output_in_graph", FLAGGED),
    ),
    Cheat(
        "huge logits", "softmax or saturated output", _wrapped(_huge),
        ("saturated_output", FLAGGED), ("saturated_output_in_graph", FLAGGED),
    ),
    Cheat(
        "a low temperature", "softmax or saturated output", _wrapped(_cold),
        ("saturated_output", FLAGGED), ("saturated_output_in_graph", FLAGGED),
    ),
    Cheat(
        "NaN off the grid", "NaN / Inf logits", _wrapped(_not_a_number),
        ("non_finite_output", REJECTED), ("non_finite_output", REJECTED),
    ),
    Cheat(
        "infinite logits", "NaN / Inf logits", _wrapped(_infinite),
        ("non_finite_output", REJECTED), ("non_finite_output", REJECTED),
    ),
    Cheat(
        "another answer off the grid", "off-grid or corner detection", _wrapped(_off_grid),
        ("off_grid_detection", REJECTED), ("off_grid_detection_in_graph", FLAGGED),
    ),
    Cheat(
        "off the grid by its remainder", "off-grid or corner detection", _wrapped(_off_grid_by_remainder),
        ("off_grid_detection", REJECTED), ("off_grid_detection_in_graph", FLAGGED),
    ),
    Cheat(
        "snapped unless on the grid", "off-grid or corner detection", _wrapped(_snapped),
        ("off_grid_detection", REJECTED), ("off_grid_detection_in_graph", FLAGGED),
    ),
    Cheat(
        "another answer for rough images", "detecting the attack", _wrapped(_rough),
        ("attack_detection", REJECTED), ("attack_detection_in_graph", FLAGGED),
    ),
    Cheat(
        "a branch", "detecting the attack", _wrapped(_branch),
        ("attack_detection", REJECTED), ("attack_detection_in_graph", REJECTED),
    ),
    Cheat(
        "another answer where a blur disagrees", "detecting the attack", _wrapped(_disagreement),
        ("attack_detection", REJECTED), ("attack_detection", REJECTED),
    ),
    Cheat(
        "the nearest test image", "looking up the test set", _lookup_table,
        ("stored_test_images", REJECTED), ("test_set_lookup_in_graph", FLAGGED),
    ),
    Cheat(
        "test images as a layer", "looking up the test set", _lookup_by_layers,
        ("stored_test_images", REJECTED), ("stored_test_images", REJECTED),
    ),
    Cheat(
        "fingerprints of test images", "looking up the test set", _lookup_by_fingerprint,
        ("test_set_lookup", REJECTED), ("test_set_lookup", REJECTED),
    ),
    Cheat("a descent", "inner optimisation", _wrapped(_descent), ("optimization_at_inference", REJECTED), None),
    Cheat(
        "a gradient written out", "inner optimisation", _wrapped(_written_out_gradient, weight=_SQUARE),
        None, ("optimization_at_inference_in_graph", REJECTED),
    ),
    Cheat(
        "a descent written out", "inner optimisation", _wrapped(_unrolled, weight=_SQUARE),
        None, ("disproportionate_cost_in_graph", REJECTED),
    ),
    Cheat(
        "a loop", "inner optimisation", _wrapped(_looped), None, ("optimization_at_inference_in_graph", REJECTED)
    ),
)  # fmt: skip
