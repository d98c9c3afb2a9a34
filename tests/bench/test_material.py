from __future__ import annotations

from dataclasses import asdict

import pytest
import torch

from bench.networks import MATERIAL, NETWORKS, load_points, made_by
from bench.train import RECIPES

SHAPES = {"mnist_points": (600, 1, 28, 28), "cifar_points": (200, 3, 32, 32)}


@pytest.mark.parametrize("name", SHAPES)
def test_points_are_images_of_all_classes(name: str) -> None:
    points = load_points(name)
    assert points.x.shape == SHAPES[name]
    assert points.x.dtype == torch.float32
    assert points.x.amin() == 0
    assert points.x.amax() == 1
    assert points.y.dtype == torch.int64
    assert points.y.bincount().shape == (10,)
    assert points.y.bincount().min() > 10


def test_the_first_points_are_asked_for_by_number() -> None:
    few, all_points = load_points("cifar_points", 7), load_points("cifar_points")
    assert torch.equal(few.x, all_points.x[:7])
    assert torch.equal(few.y, all_points.y[:7])


# Nine of ten random guesses are wrong; an adversarially trained network this small pays for its robustness.
@pytest.mark.parametrize(("name", "accuracy"), [("mnist_standard", 0.98), ("mnist_linf", 0.9), ("cifar_linf", 0.45)])
def test_networks_classify_their_points(name: str, accuracy: float) -> None:
    network = NETWORKS[name]
    points = network.load_points()
    model = network.load()
    with torch.no_grad():
        logits = model(points.x)
    assert logits.shape == (len(points.x), 10)
    assert (logits.argmax(1) == points.y).float().mean() >= accuracy
    assert not any(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_are_of_the_recipe_in_the_script(name: str) -> None:
    recipe = {key: str(value) for key, value in asdict(RECIPES[name]).items()}
    header = made_by(name)
    assert {key: header[key] for key in recipe} == recipe
    assert header["network"] == name


def test_the_material_is_small_and_explained() -> None:
    files = [path for path in MATERIAL.iterdir() if path.suffix == ".safetensors"]
    assert {path.stem for path in files} == {*NETWORKS, *SHAPES}
    assert sum(path.stat().st_size for path in files) < 3 * 2**20
    explained = (MATERIAL / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in files if f"`{path.name}`" not in explained] == []
