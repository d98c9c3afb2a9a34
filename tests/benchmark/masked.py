"""Models whose gradients mislead the attacks, each in another way, and honest ones beside them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmark.threat_models import ThreatModel
from model_zoo.recipes.perturbations import SCHEMES, perturb
from tests.benchmark.models import Cnn, blobs

Change = Callable[[Tensor], Tensor]


def unchanged(value: Tensor) -> Tensor:
    return value


class Masked(nn.Module):
    """A network behind a change of its images, of its logits, or of both."""

    def __init__(self, inner: nn.Module, *, images: Change = unchanged, logits: Change = unchanged) -> None:
        super().__init__()
        self.inner = inner
        self.images = images
        self.logits = logits

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(torch.as_tensor(self.inner(self.images(x))))


def rounded(x: Tensor) -> Tensor:
    """Eight grey levels: the gradient is zero everywhere."""
    return (x * 8).round() / 8


def steep(x: Tensor) -> Tensor:
    """Nearly black and white: the gradient is all but zero, except for the few pixels in between."""
    return torch.sigmoid(200 * (x - 0.45))


def rippled(x: Tensor) -> Tensor:
    """The images with ripples too small to see: the gradient turns about within a thousandth."""
    return x + 3 * torch.sin(1_000 * x) / 1_000


def reversed_gradient(x: Tensor) -> Tensor:
    """The images themselves, with a gradient that points the other way."""
    return 2 * x.detach() - x


def eight_bits(x: Tensor) -> Tensor:
    return (x * 255).round() / 255


def only_at_data(x: Tensor) -> Tensor:
    """The images themselves; gradients only for those of 8 bits, which an attack leaves at once."""
    clean = (eight_bits(x.detach()) == x.detach()).flatten(1).all(1)
    return torch.where(clean[:, None, None, None], x, x.detach())


def enormous(logits: Tensor) -> Tensor:
    return 1e4 * logits


def saturated_probabilities(logits: Tensor) -> Tensor:
    return (8 * logits).softmax(1)


def halves(logits: Tensor) -> Tensor:
    """Two classes of the four: upper and lower quadrants."""
    return torch.stack((logits[:, :2].logsumexp(1), logits[:, 2:].logsumexp(1)), 1)


class Saturated(nn.Module):
    """A network whose answer shows in all but equal logits: what follows them follows ten fixed patterns instead.

    Its probabilities saturate in float32, so neither gradients nor small changes of the loss tell anything of them. The
    patterns are too faint to change an answer, and keep the gradient from being zero. What was found on the network
    inside breaks it at once.

    Args:
        inner: of ten classes and 8x8 images of one channel.
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.patterns: Tensor
        self.register_buffer("patterns", torch.randn(64, 10, generator=torch.Generator().manual_seed(0)))

    def forward(self, x: Tensor) -> Tensor:
        return (40 * torch.as_tensor(self.inner(x))).softmax(1) + 0.01 * (x.flatten(1) @ self.patterns)


@cache
def overfitted() -> Cnn:
    """A small network that has learnt to resist one step of 1/4 and no more than that; the same each time."""
    model, generator = Cnn((1, 8, 8), 4), torch.Generator().manual_seed(0)
    x, y = blobs(512, seed=1)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for step in range(300):
        rows = torch.randint(0, len(y), (128,), generator=generator)
        images = x[rows]
        if step >= 50:  # images as they are first, for otherwise it learns nothing
            images = perturb(model.eval(), images, y[rows], ThreatModel("Linf", "1/4"), SCHEMES["fgsm"], generator)
        optimizer.zero_grad()
        torch.autograd.backward(functional.cross_entropy(model.train()(images), y[rows]))
        optimizer.step()
    optimizer.zero_grad()
    return model.eval()
