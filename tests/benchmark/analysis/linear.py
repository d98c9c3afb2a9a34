"""Linear classifiers, of which the distance to every boundary is known."""

from __future__ import annotations

import torch
from torch import Tensor, nn

CLASSES, SHAPE = 5, (1, 4, 4)


def linear(classes: int = CLASSES) -> nn.Sequential:
    """A linear classifier of images, its weights drawn."""
    layer = nn.Linear(16, classes)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(classes, 16, generator=generator))
        layer.bias.copy_(-0.5 * layer.weight.sum(1))  # so that middle grey is of no class
    return nn.Sequential(nn.Flatten(), layer).eval()


def weights_of(model: nn.Sequential, place: int) -> Tensor:
    """The weights of a linear layer of a sequence."""
    layer = model[place]
    assert isinstance(layer, nn.Linear)
    return layer.weight


def points(n: int) -> Tensor:
    """Images around middle grey, far from black and white."""
    return 0.35 + 0.3 * torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(5))


def distances_of(model: nn.Sequential, x: Tensor, y: Tensor, dual: float) -> Tensor:
    """How far the nearest other class is, 0 where it is there already, by the order of the dual norm, (n,)."""
    weight = weights_of(model, 1).detach()
    with torch.no_grad():
        logits = model(x)
    gap = logits.gather(1, y[:, None]) - logits
    size = (weight[y][:, None] - weight).norm(p=dual, dim=2)
    nearest: Tensor = (gap / size.clamp_min(1e-12)).scatter(1, y[:, None], torch.inf).amin(1).clamp_min(0)
    return nearest
