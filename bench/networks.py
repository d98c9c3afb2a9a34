"""Networks on larger images than the digits', for the measurements in this folder: small enough to be committed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

MATERIAL = Path(__file__).parent / "material"


class MnistCnn(nn.Module):
    """Two convolutions with pooling and two linear layers, for 28×28 grey images in [0, 1].

    Source:
        The topology of LeNet-5, LeCun et al. 1998, with ReLU and max pooling.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 5)
        self.conv2 = nn.Conv2d(16, 32, 5)
        self.hidden = nn.Linear(32 * 4 * 4, 128)
        self.head = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        features = F.max_pool2d(F.relu(self.conv1(x)), 2)
        features = F.max_pool2d(F.relu(self.conv2(features)), 2)
        logits: Tensor = self.head(F.relu(self.hidden(features.flatten(1))))
        return logits


class _Block(nn.Module):
    """Two convolutions added to a shortcut, which is a 1×1 convolution where the shape changes."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inner, outer, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outer)
        self.conv2 = nn.Conv2d(outer, outer, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outer)
        self.shortcut: nn.Module = nn.Identity()
        if inner != outer:
            self.shortcut = nn.Sequential(nn.Conv2d(inner, outer, 1, stride=stride, bias=False), nn.BatchNorm2d(outer))

    def forward(self, x: Tensor) -> Tensor:
        change = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(self.shortcut(x) + change)


class CifarResNet(nn.Module):
    """ResNet-20 for 32×32 colour images in [0, 1], which it normalises itself.

    Args:
        width: channels of the first stage; the second and the third have twice and four times as many.
    Source:
        He et al. 2016, arXiv:1512.03385, section 4.2, with 16 channels there and other shortcuts.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        # Of the training images, by channel.
        self.register_buffer("mean", torch.tensor((0.4914, 0.4822, 0.4465)).view(3, 1, 1))
        self.register_buffer("deviation", torch.tensor((0.2470, 0.2435, 0.2616)).view(3, 1, 1))
        self.stem = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        stages = ((width, width, 1), (width, 2 * width, 2), (2 * width, 4 * width, 2))
        self.blocks = nn.Sequential(
            *(
                block
                for inner, outer, stride in stages
                for block in (_Block(inner, outer, stride), _Block(outer, outer, 1), _Block(outer, outer, 1))
            )
        )
        self.head = nn.Linear(4 * width, 10)

    def forward(self, x: Tensor) -> Tensor:
        features = F.relu(self.norm(self.stem((x - self.mean) / self.deviation)))
        logits: Tensor = self.head(self.blocks(features).mean((2, 3)))
        return logits


@dataclass(frozen=True)
class Network:
    """A network whose weights are committed, and the points it is measured on."""

    name: str
    architecture: Callable[[], nn.Module]
    points: str

    @property
    def weights(self) -> Path:
        return MATERIAL / f"{self.name}.safetensors"

    def load(self) -> nn.Module:
        """Return the trained network in eval mode with frozen parameters."""
        model = self.architecture()
        model.load_state_dict(load_file(self.weights))
        return model.eval().requires_grad_(False)

    def load_points(self, count: int | None = None) -> Points:
        """Return the first points, all by default."""
        return load_points(self.points, count)


@dataclass(frozen=True)
class Points:
    """Images that no network here was trained on, (n, c, h, w), in [0, 1], and their labels, (n,)."""

    x: Tensor
    y: Tensor


NETWORKS = {
    network.name: network
    for network in (
        Network("mnist_standard", MnistCnn, "mnist_points"),
        Network("mnist_linf", MnistCnn, "mnist_points"),
        Network("cifar_linf", CifarResNet, "cifar_points"),
    )
}


def load_points(name: str, count: int | None = None) -> Points:
    stored = load_file(MATERIAL / f"{name}.safetensors")
    return Points(stored["images"][:count].float() / 255, stored["labels"][:count].long())


def made_by(name: str) -> dict[str, str]:
    """Return how a file of the material was made, as its header tells."""
    with safe_open(MATERIAL / f"{name}.safetensors", framework="pt") as file:
        metadata: dict[str, str] = json.loads(file.metadata()["made_by"])
    return metadata
