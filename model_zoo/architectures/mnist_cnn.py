"""A plain convolutional network for 28×28 grey images."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class MnistCnn(nn.Module):
    """Two convolutions of stride 2 and two linear layers.

    Args:
        classes: number of classes.
    Source:
        Wong & Kolter 2018, arXiv:1711.00851, the network for MNIST.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 4, stride=2, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 4, stride=2, padding=1)
        self.hidden = nn.Linear(32 * 7 * 7, 100)
        self.head = nn.Linear(100, classes)

    def forward(self, x: Tensor) -> Tensor:
        features = F.relu(self.conv2(F.relu(self.conv1(x))))
        logits: Tensor = self.head(F.relu(self.hidden(features.flatten(1))))
        return logits
