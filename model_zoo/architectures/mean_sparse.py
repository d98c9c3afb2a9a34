"""Features near their mean are set to it: a layer that MeanSparse puts into trained networks."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MeanSparse(nn.Module):
    """Replace features within some standard deviations of their channel's mean by that mean.

    Mean, variance and the number of deviations come with the checkpoint; at 0 deviations nothing happens.

    Args:
        channels: number of channels.
        images: whether channels are the second dimension, as in feature maps, or the last, as in tokens.
    Source:
        Amini et al. 2024, arXiv:2406.05927.
    """

    def __init__(self, channels: int, *, images: bool) -> None:
        super().__init__()
        self.images = images
        self.running_mean: Tensor
        self.running_var: Tensor
        self.threshold: Tensor
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.zeros(channels))
        self.register_buffer("threshold", torch.tensor(0.0))

    def forward(self, x: Tensor) -> Tensor:
        mean, reach = self.running_mean, self.threshold * self.running_var.sqrt()
        if self.images:
            mean, reach = mean[:, None, None], reach[:, None, None]
        return torch.where((x - mean).abs() < reach, mean, x)


def mean_sparse(channels: int, *, images: bool, wanted: bool) -> nn.Module:
    """Return the layer where it is wanted, else one that does nothing."""
    return MeanSparse(channels, images=images) if wanted else nn.Identity()
