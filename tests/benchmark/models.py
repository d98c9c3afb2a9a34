"""Small models whose behaviour is known, and points for them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

Shape = tuple[int, int, int]


def points(n: int, shape: Shape, classes: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Uniform images and uniform labels."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, *shape, generator=generator), torch.randint(0, classes, (n,), generator=generator)


def answers(model: nn.Module, x: Tensor) -> Tensor:
    """The labels that the model gives."""
    with torch.no_grad():
        return torch.as_tensor(model(x)).argmax(1)


class Linear(nn.Module):
    """Logits linear in the pixels, so that every distance to the decision boundary has a closed form."""

    def __init__(self, shape: Shape, classes: int, seed: int = 0) -> None:
        super().__init__()
        channels, height, width = shape
        generator = torch.Generator().manual_seed(seed)
        weight = torch.randn(classes, channels * height * width, generator=generator) / (channels * height * width)
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(-weight.sum(1) / 2)

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x.flatten(1), self.weight, self.bias)


class Cnn(nn.Module):
    """A convolution, batch normalisation, ReLU and a linear layer."""

    def __init__(self, shape: Shape, classes: int, seed: int = 0) -> None:
        super().__init__()
        channels, height, width = shape
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.convolution = nn.Conv2d(channels, 6, 3, padding=1)
            self.norm = nn.BatchNorm2d(6)
            self.linear = nn.Linear(6 * height * width, classes)
            self.norm.running_mean = torch.randn(6) / 10
            self.norm.running_var = torch.rand(6) + 0.5

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.linear(torch.relu(self.norm(self.convolution(x))).flatten(1)))


class Robust(nn.Module):
    """Class 0 wins by 5 everywhere; the other logits lean on the pixels, so that gradients exist."""

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__()
        self.linear = Linear(shape, classes)
        self.lead = torch.eye(classes)[0] * 5

    def forward(self, x: Tensor) -> Tensor:
        return self.lead + torch.tanh(torch.as_tensor(self.linear(x)))


def blobs(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Noisy images of four classes, a bright quadrant each, (n, 1, 8, 8)."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 4, (n,), generator=generator)
    x = 0.3 + 0.12 * torch.randn(n, 1, 8, 8, generator=generator)
    for label in range(4):
        top, left = 4 * (label // 2), 4 * (label % 2)
        x[y == label, :, top : top + 4, left : left + 4] += 0.3
    return x.clamp(0, 1), y


def trained(steps: int = 60) -> Cnn:
    """A small network that has learnt the blobs."""
    model = Cnn((1, 8, 8), 4)
    x, y = blobs(256, seed=1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        torch.autograd.backward(functional.cross_entropy(model(x), y))
        optimizer.step()
    optimizer.zero_grad()
    return model.eval()
