"""Make the files in bench/material: networks trained against an attacker or not, and the points they are measured on.

    python -m bench.train mnist_linf --mnist FOLDER
    python -m bench.train cifar_linf --cifar FOLDER

--mnist names a folder with t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz: the first 9,000 images train, the
last 1,000 are held out. --cifar names a folder with train.tar.xz and test.tar.xz, which hold split/class/number.jpg.
One thread; up to 25 minutes for CIFAR-10, up to 10 for MNIST, seconds for the points.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from bench.networks import MATERIAL, NETWORKS
from bench.sources import read_cifar, read_mnist
from benchmark.threat_models import ThreatModel
from model_zoo.recipes.augmentation import shifted
from model_zoo.recipes.perturbations import Scheme, perturb

MNIST_TRAINING = 9000
MNIST_POINTS, CIFAR_POINTS = 600, 200
# Pixels by which training images are shifted at most.
_SHIFT = {28: 2, 32: 4}


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: SGD whose learning rate rises for a part of the steps, then falls to zero.

    Args:
        epsilon: Linf budget of the perturbation.
        scheme: how the perturbation is found.
        epochs: passes over the training images.
        warm_up: part of the steps in which the budget grows from 0; a network that meets 0.3 at once learns nothing.
        peak: part of the steps after which the learning rate is highest.
        learning_rate: the highest.
        mirrored: whether images are mirrored at random.
    """

    epsilon: str
    scheme: Scheme
    epochs: int
    warm_up: float
    peak: float
    learning_rate: float
    weight_decay: float
    mirrored: bool
    batch_size: int = 128
    seed: int = 0


RECIPES = {
    "mnist_standard": Recipe("0", Scheme(0, 0.0), 15, 0.0, 0.3, 0.1, 1e-4, mirrored=False),
    "mnist_linf": Recipe("0.3", Scheme(10, 0.25, random_start=True), 30, 0.5, 0.3, 0.05, 1e-4, mirrored=False),
    # Wong et al. 2020, arXiv:2001.03994, algorithm 3 and section 5.
    "cifar_linf": Recipe("4/255", Scheme(1, 1.25, random_start=True), 5, 0.0, 0.4, 0.2, 1e-4, mirrored=True),
}


def train(model: nn.Module, images: Tensor, labels: Tensor, recipe: Recipe) -> nn.Module:
    """Return the model, trained in place on uint8 images, in eval mode."""
    generator = torch.Generator().manual_seed(recipe.seed)
    optimizer = torch.optim.SGD(model.parameters(), 0.0, 0.9, weight_decay=recipe.weight_decay, nesterov=True)
    steps = recipe.epochs * (len(images) // recipe.batch_size)
    # oneDNN's kernels for small images are faster in this layout.
    for parameter in model.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    model.train()
    done, began, losses = 0, time.monotonic(), 0.0
    for epoch in range(recipe.epochs):
        order = torch.randperm(len(images), generator=generator)
        for rows in order.split(recipe.batch_size):
            if len(rows) < recipe.batch_size:
                continue
            done += 1
            part = done / steps
            optimizer.param_groups[0]["lr"] = recipe.learning_rate * min(
                part / recipe.peak, (1 - part) / (1 - recipe.peak)
            )
            x = images[rows].float() / 255
            x = shifted(x, _SHIFT[x.shape[-1]], recipe.mirrored, generator)
            y = labels[rows].long()
            if recipe.scheme.steps:
                grown = min(1.0, part / recipe.warm_up) if recipe.warm_up else 1.0
                budget = ThreatModel("Linf", ThreatModel("Linf", recipe.epsilon).radius * max(grown, 0.01))
                x = perturb(model, x, y, budget, recipe.scheme, generator)
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses = 0.98 * losses + 0.02 * float(loss.detach())
        print(f"epoch {epoch + 1}: loss {losses:.3f}, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return model.eval()


def save(name: str, tensors: Mapping[str, Tensor], made_by: Mapping[str, object]) -> None:
    contiguous = {key: value.contiguous() for key, value in tensors.items()}
    metadata = {"made_by": json.dumps({key: str(value) for key, value in made_by.items()})}
    save_file(contiguous, MATERIAL / f"{name}.safetensors", metadata=metadata)


def make_network(name: str, mnist: Path | None, cifar: Path | None) -> None:
    recipe = RECIPES[name]
    torch.manual_seed(recipe.seed)
    model = NETWORKS[name].architecture()
    if name.startswith("mnist"):
        images, labels = (part[:MNIST_TRAINING] for part in read_mnist(given(mnist, "--mnist")))
    else:
        images, labels = read_cifar(given(cifar, "--cifar"), "train", 5000)
    train(model, images, labels, recipe)
    save(name, model.state_dict(), {"network": name, "images": len(images), **asdict(recipe)})


def make_points(name: str, mnist: Path | None, cifar: Path | None) -> None:
    if name == "mnist_points":
        images, labels = (part[MNIST_TRAINING:][:MNIST_POINTS] for part in read_mnist(given(mnist, "--mnist")))
    else:
        images, labels = read_cifar(given(cifar, "--cifar"), "test", CIFAR_POINTS // 10)
    save(name, {"images": images, "labels": labels}, {"points": name})


def given(folder: Path | None, option: str) -> Path:
    if folder is None:
        sys.exit(f"Name the folder of the images with {option}; --help says what it holds.")
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=[*RECIPES, "mnist_points", "cifar_points"])
    parser.add_argument("--mnist", type=Path)
    parser.add_argument("--cifar", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    make = make_network if chosen.what in RECIPES else make_points
    make(chosen.what, chosen.mnist, chosen.cifar)


if __name__ == "__main__":
    main()
