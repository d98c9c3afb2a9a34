"""A plain convolutional network for 8×8 grey images."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class DigitsCnn(nn.Module):
    """Two convolutions and two linear layers: 116 thousand multiplications per image at width 16.

    Args:
        classes: number of classes.
        width: channels of the first convolution; the second has twice as many.
    """

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.hidden = nn.Linear(2 * width * 4 * 4, 64)
        self.head = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        features = F.relu(self.conv2(F.relu(self.conv1(x))))
        logits: Tensor = self.head(F.relu(self.hidden(features.flatten(1))))
        return logits
