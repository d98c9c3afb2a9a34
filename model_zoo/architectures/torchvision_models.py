"""The one place that imports torchvision."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch


def models(name: str) -> Any:
    """Return a module of torchvision's, such as "resnet".

    Of its operations on boxes classifiers need none; where its compiled part was built for another torch than the one
    that is installed, they are declared, so that it can be imported all the same.
    """
    for operation in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, operation):
            torch.library.define(f"torchvision::{operation}", "(Tensor boxes, Tensor scores, float most) -> Tensor")
    return import_module(f"torchvision.models.{name}")
