"""Honest networks of all families, trained on the digits within seconds: none of them may be rejected or flagged."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark import datasets
from model_zoo import load_model
from tests.model_zoo.vision_transformer import VisionTransformer

Make = Callable[[], nn.Module]


class Residual(nn.Module):
    """Two convolutions with what came in added to what comes out."""

    def __init__(self, channels: int, activation: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.BatchNorm2d(channels),
            activation(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            activation(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.as_tensor(self.inner(x))


class Separable(nn.Module):
    """A depthwise and a pointwise convolution, with squeeze and excitation between them: MobileNetV3, EfficientNet."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
            nn.BatchNorm2d(channels),
            nn.Hardswish(),
        )
        self.squeeze = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, 4, 1), nn.ReLU(), nn.Conv2d(4, channels, 1), nn.Hardsigmoid()
        )
        self.pointwise = nn.Sequential(nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        inner = torch.as_tensor(self.depthwise(x))
        return x + torch.as_tensor(self.pointwise(inner * torch.as_tensor(self.squeeze(inner))))


class Dense(nn.Module):
    """Layers that see everything before them: DenseNet."""

    def __init__(self, channels: int, growth: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm2d(channels + growth * i),
                nn.ReLU(),
                nn.Conv2d(channels + growth * i, growth, 3, padding=1, bias=False),
            )
            for i in range(layers)
        )

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        return x


class ConvNext(nn.Module):
    """A large depthwise convolution, LayerNorm over channels, and a perceptron for each place: ConvNeXt."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 5, padding=2, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels))
        self.scale = nn.Parameter(torch.full((channels,), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        inner = torch.as_tensor(self.depthwise(x)).permute(0, 2, 3, 1)
        return x + (self.scale * torch.as_tensor(self.mlp(self.norm(inner)))).permute(0, 3, 1, 2)


class Normalised(nn.Module):
    """A network behind the normalisation of its images."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.register_buffer("mean", torch.full((1, 1, 1, 1), 0.3))
        self.register_buffer("deviation", torch.full((1, 1, 1, 1), 0.37))
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.network((x - self.mean) / self.deviation))


class Ensemble(nn.Module):
    """The mean of several networks' logits."""

    def __init__(self, *networks: nn.Module) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([network(x) for network in self.networks]).mean(0)


class GroupSort(nn.Module):
    """Sorts neighbouring pairs of features, which keeps the length of gradients.

    Source:
        Anil, Lucas & Grosse 2019, arXiv:1811.05381, section 3.
    """

    def forward(self, x: Tensor) -> Tensor:
        first, second = x.unflatten(1, (-1, 2)).unbind(2)
        return torch.stack([torch.maximum(first, second), torch.minimum(first, second)], 2).flatten(1)


class Contraction(nn.Module):
    """A linear layer that lengthens nothing, so that the margin certifies a radius in L2.

    Source:
        Prach & Lampert 2022, arXiv:2208.03160, theorem 1.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.orthogonal_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        scale = (self.weight.T @ self.weight).abs().sum(1).clamp_min(1e-6).rsqrt()
        return F.linear(x, self.weight * scale, self.bias)


def _head(channels: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * channels, 10)]


def _mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 48), nn.ReLU(), nn.Linear(48, 10))


def _cnn() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 16, 3, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(256, 10),
    )  # fmt: skip


def _vgg() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(128, 10),
    )  # fmt: skip


def _stem(*blocks: nn.Module, channels: int = 16, out: int = 16) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, channels, 3, padding=1), *blocks, *_head(out))


NETWORKS: Mapping[str, Make] = {
    "linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10)),
    "perceptron": _mlp,
    "convolutions": _cnn,
    "VGG": _vgg,
    "ResNet": lambda: _stem(Residual(16, nn.ReLU), nn.MaxPool2d(2), Residual(16, nn.ReLU)),
    "Swish ResNet": lambda: Normalised(_stem(Residual(16, nn.SiLU), Residual(16, nn.SiLU))),
    "MobileNet": lambda: _stem(Separable(16), nn.AvgPool2d(2), Separable(16)),
    "DenseNet": lambda: _stem(Dense(16, 8, 3), out=40),
    "ConvNeXt": lambda: _stem(ConvNext(16), nn.AvgPool2d(2), ConvNext(16)),
    "ViT": VisionTransformer,
    "ensemble": lambda: Ensemble(Normalised(_cnn()), _mlp()),
}
"""Networks that are trained plainly."""


def trained(make: Make, epochs: int = 10) -> nn.Module:
    """Train a network on the digits; the same each time."""
    return _trained(make, epochs, lambda model, x, y: F.cross_entropy(model(x), y))


def adversarially_trained(make: Make, epsilon: float = 0.15, epochs: int = 12, steps: int = 3) -> nn.Module:
    """Train on examples of projected gradient descent in Linf.

    Source:
        Madry et al. 2018, arXiv:1706.06083.
    """

    def loss(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        x_adv = x + epsilon * (2 * torch.rand_like(x) - 1)
        for _ in range(steps):
            leaf = x_adv.clamp(0, 1).detach().requires_grad_()
            (grad,) = torch.autograd.grad(F.cross_entropy(model(leaf), y), leaf)
            x_adv = x + (leaf + epsilon / 2 * grad.sign() - x).clamp(-epsilon, epsilon)
        return F.cross_entropy(model(x_adv.clamp(0, 1).detach()), y)

    return _trained(make, epochs, loss)


def certifiably_trained(epsilon: float = 0.06, epochs: int = 20) -> nn.Module:
    """Train a network of convolutions on the bounds of its logits, by interval arithmetic.

    Source:
        Gowal et al. 2018, arXiv:1810.12715. Such networks have many dead units.
    """

    def bounds(model: nn.Module, x: Tensor, radius: float) -> tuple[Tensor, Tensor]:
        middle, spread = x, torch.full_like(x, radius)
        for layer in model if isinstance(model, nn.Sequential) else ():
            if isinstance(layer, nn.Conv2d):
                middle = layer(middle)
                spread = F.conv2d(spread, layer.weight.abs(), None, layer.stride, layer.padding)
            elif isinstance(layer, nn.Linear):
                middle, spread = layer(middle), F.linear(spread, layer.weight.abs())
            elif isinstance(layer, nn.ReLU):
                low, high = (middle - spread).relu(), (middle + spread).relu()
                middle, spread = (low + high) / 2, (high - low) / 2
            else:
                middle, spread = layer(middle), layer(spread)
        return middle, spread

    steps = iter(range(10**9))

    def loss(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        warm = min(next(steps) / (18 * epochs * 0.6), 1.0)
        middle, spread = bounds(model, x, epsilon * warm)
        own = F.one_hot(y, 10).bool()
        worst = torch.where(own, middle - spread, middle + spread)
        return F.cross_entropy(model(x), y) * (1 - warm / 2) + F.cross_entropy(worst, y) * warm / 2

    return _trained(_cnn, epochs, loss)


def lipschitz_trained(epochs: int = 15) -> nn.Module:
    """Train a perceptron that lengthens nothing, with the margin that certifies its robustness in L2.

    Source:
        Anil, Lucas & Grosse 2019, arXiv:1811.05381; the layers of Prach & Lampert 2022, arXiv:2208.03160.
    """
    return _trained(
        lambda: nn.Sequential(
            nn.Flatten(), Contraction(64, 64), GroupSort(), Contraction(64, 32), GroupSort(), Contraction(32, 10)
        ),
        epochs,
        lambda model, x, y: F.cross_entropy((model(x) - 0.3 * F.one_hot(y, 10)) / 0.1, y),
    )


def with_dead_units(model: nn.Module) -> nn.Module:
    """Switch every third unit of the first layer off, as training with a high rate does."""
    first = next(layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear))
    with torch.no_grad():
        if first.bias is not None:
            first.bias[::3] = -100
    return model


BUNDLED = {
    "Linf": ("Digits_Standard", "Digits_FGSM", "Digits_FGSM_RS", "Digits_PGD2", "Digits_PGD10"),
    "L2": ("Digits_Standard", "Digits_FGSM_L2", "Digits_PGD2_L2", "Digits_PGD10_L2"),
}
"""The zoo's models by the threat model of their boards."""


def bundled(name: str, threat_model: str) -> nn.Module:
    """A model of the zoo."""
    return load_model(name, dataset="digits", threat_model=threat_model)


SPECIAL: Mapping[str, Callable[[], nn.Module]] = {
    "robust convolutions": lambda: adversarially_trained(_cnn),
    "certified by intervals": certifiably_trained,
    "certified by its Lipschitz constant": lipschitz_trained,
    "dead units": lambda: with_dead_units(trained(_cnn)),
}
"""Networks that are trained otherwise."""


def make_honest(name: str) -> nn.Module:
    """Train one of `NETWORKS` or `SPECIAL`."""
    return trained(NETWORKS[name]) if name in NETWORKS else SPECIAL[name]()


Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]


def _trained(make: Make, epochs: int, loss: Loss) -> nn.Module:
    points = datasets.load("digits", "train")
    with torch.random.fork_rng(), torch.enable_grad():
        torch.manual_seed(0)
        model = make()
        optimiser = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=1e-3)
        batches = -(-len(points.y) // 64)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 6e-3, total_steps=epochs * batches)
        for _ in range(epochs):
            for rows in torch.randperm(len(points.y)).split(64):
                optimiser.zero_grad()
                loss(model.train(), points.x[rows], points.y[rows]).backward()
                optimiser.step()
                schedule.step()
    return model.requires_grad_(False).eval()
