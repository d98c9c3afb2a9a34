"""Transformers and ConvNeXt beside timm's, small and with one random state dict."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import nn

from bench.zoo import drawn
from model_zoo.architectures.convnext import ConvNeXt
from model_zoo.architectures.swin import SwinTransformer
from model_zoo.architectures.torchvision_models import models
from model_zoo.architectures.vision_transformer import VisionTransformer
from model_zoo.architectures.xcit import XCiT

pytestmark = pytest.mark.differential


def timm(module: str) -> Any:
    models("resnet")  # so that it can import torchvision
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return import_module(f"timm.models.{module}")


def files_name(key: str) -> str:
    """Return what published files of Swin transformers call a parameter; timm has renamed some since."""
    key = re.sub(r"^layers\.(\d+)\.downsample", lambda found: f"layers.{int(found[1]) - 1}.downsample", key)
    return key.replace("head.fc.", "head.")


def same(key: str) -> str:
    return key


FAMILIES: dict[str, tuple[Callable[[], nn.Module], Callable[[], nn.Module], Callable[[str], str]]] = {
    "VisionTransformer": (
        lambda: VisionTransformer(10, 48, 4, depth=2, size=32, patch=8),
        lambda: timm("vision_transformer").VisionTransformer(
            img_size=32, patch_size=8, num_classes=10, embed_dim=48, depth=2, num_heads=4
        ),
        same,
    ),
    "SwinTransformer": (
        lambda: SwinTransformer(10, 24, 3, blocks=(2, 2, 2), window=4, size=64),
        lambda: timm("swin_transformer").SwinTransformer(
            img_size=64, num_classes=10, embed_dim=24, depths=(2, 2, 2), num_heads=(3, 6, 12), window_size=4
        ),
        files_name,
    ),
    "XCiT": (
        lambda: XCiT(10, 64, 4, size=64, depth=2),
        lambda: timm("xcit").Xcit(
            img_size=64, patch_size=16, num_classes=10, embed_dim=64, depth=2, num_heads=4, eta=1.0, tokens_norm=True
        ),
        same,
    ),
    "ConvNeXt": (
        lambda: ConvNeXt(10, 16, (1, 1, 2, 1)),
        lambda: timm("convnext").ConvNeXt(num_classes=10, depths=(1, 1, 2, 1), dims=(16, 32, 64, 128)),
        same,
    ),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_networks_answer_as_timm_does(family: str) -> None:
    make, make_theirs, name = FAMILIES[family]
    size = 32 if family == "VisionTransformer" else 64
    torch.manual_seed(0)
    ours, theirs = make().eval(), drawn(make_theirs().eval(), size)
    ours.load_state_dict({name(key): value for key, value in theirs.state_dict().items()})
    x = torch.rand(2, 3, size, size)
    with torch.no_grad():
        left, right = ours(x), theirs(x)
    assert (left - right).abs().max() <= 1e-5 * right.abs().max()
    assert (right[0] - right[1]).abs().max() > 1e-3 * right.abs().max()  # answers depend on the image
