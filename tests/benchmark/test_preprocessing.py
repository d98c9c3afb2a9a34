"""Resizing and cropping, held against torchvision, whose names these are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark.errors import InvalidInput, NotFound
from benchmark.preprocessing import PREPROCESSINGS, fitting, preprocessing_named
from model_zoo.architectures.torchvision_models import models

SIZES = [(256, 256), (256, 300), (500, 375), (375, 500), (224, 224), (100, 80), (33, 600), (287, 289), (257, 511)]


@pytest.fixture(scope="module")
def transforms() -> Any:
    """torchvision's, which can be imported once its models have been."""
    models("resnet")
    from torchvision import transforms

    return transforms


def of_torchvision(transforms: Any, name: str) -> Any:
    resize, crop, bicubic = transforms.Resize, transforms.CenterCrop, transforms.InterpolationMode.BICUBIC
    steps = {
        "Res256Crop224": [resize(256), crop(224)],
        "BicubicRes256Crop224": [resize(256, interpolation=bicubic), crop(224)],
        "BicubicRes248Crop224": [resize(248, interpolation=bicubic), crop(224)],
        "BicubicRes224Crop224": [resize(224, interpolation=bicubic), crop(224)],
        "Res224Crop224": [resize(224), crop(224)],
        "Crop288": [crop(288)],
        "Res224": [resize([224, 224])],
        "Res32Crop32": [resize(32), crop(32)],
        "none": [],
    }
    return transforms.Compose([*steps[name], transforms.ToTensor()])


@pytest.mark.parametrize("name", PREPROCESSINGS)
def test_every_value_is_torchvisions(transforms: Any, name: str) -> None:
    rng = np.random.default_rng(0)
    theirs = of_torchvision(transforms, name)
    for width, height in SIZES:
        image = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        ours = torch.from_numpy(np.array(PREPROCESSINGS[name](image))).permute(2, 0, 1).to(torch.float32) / 255
        assert torch.equal(ours, theirs(image)), (width, height)


def test_fitting_resizes_the_shorter_side_and_repeats_grey(transforms: Any) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8))
    theirs = transforms.Compose([transforms.Grayscale(3), transforms.Resize(32), transforms.ToTensor()])
    ours = torch.from_numpy(np.array(fitting((3, 32, 32))(image))).permute(2, 0, 1).to(torch.float32) / 255
    assert torch.equal(ours, theirs(image))
    assert fitting((1, 8, 8))(image.convert("RGB")).mode == "L"
    assert image.size == (28, 28), "the image that was given stays as it is"


@pytest.mark.parametrize("shape", [(2, 8, 8), (3, 8, 9), (3, 0, 0), (8, 8), (3, 10**6, 10**6)])
def test_a_shape_that_no_image_has_is_refused(shape: Any) -> None:
    with pytest.raises(InvalidInput, match="1 or 3 channels"):
        fitting(shape)


def test_an_unknown_name_is_answered_with_the_known() -> None:
    with pytest.raises(NotFound, match="BicubicRes256Crop224"):
        preprocessing_named("Res512")
