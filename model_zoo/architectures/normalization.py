"""What published networks do to an image before their first layer. Nothing of it is in their state dicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn


class Normalization(nn.Module):
    """Subtract a mean and divide by a standard deviation, channel by channel.

    Args:
        mean: of each channel.
        std: of each channel.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


class ImageStandardization(nn.Module):
    """Give every image the mean 0 and the standard deviation 1, over all of its values.

    A nearly uniform image is divided by what the rounding of 8 bits could add up to, not by next to nothing.

    Source:
        Ding et al. 2020, arXiv:1812.02637, as TensorFlow's per-image standardisation.
    """

    def forward(self, x: Tensor) -> Tensor:
        values = x.flatten(1)
        least = values.shape[1] ** -0.5
        mean, std = values.mean(1), values.std(1).clamp_min(least)
        return (x - mean[:, None, None, None]) / std[:, None, None, None]


_STATISTICS: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)),
    "cifar10-exact": (
        (0.4913997551666284, 0.48215855929893703, 0.4465309133731618),
        (0.24703225141799082, 0.24348516474564, 0.26158783926049628),
    ),
    "cifar10-three-digits": ((0.491, 0.482, 0.447), (0.247, 0.243, 0.262)),
    "cifar10-image-std": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "cifar100-train": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
    "cifar100-exact": (
        (0.5070751592371323, 0.48654887331495095, 0.4409178433670343),
        (0.2673342858792401, 0.2564384629170883, 0.27615047132568404),
    ),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
NORMALIZATIONS = ("none", "image", *_STATISTICS)
"""Names of all: "none" leaves the image as it is, "image" standardises each by itself, the others are statistics."""


def normalization(name: str) -> nn.Module:
    """Return what a network does to its images first.

    Args:
        name: one of `NORMALIZATIONS`.
    Raises:
        KeyError: there is none of that name.
    """
    if name == "none":
        return nn.Identity()
    return ImageStandardization() if name == "image" else Normalization(*_STATISTICS[name])
