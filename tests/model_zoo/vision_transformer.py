"""A vision transformer for the digits, small enough to be trained within seconds."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmark.datasets import LabelledPoints


class VisionTransformer(nn.Module):
    """Patches of 2×2 pixels, a class token, two layers of torch's own encoder, normalisation inside.

    Source:
        Dosovitskiy et al. 2021, arXiv:2010.11929.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(0.3))
        self.register_buffer("deviation", torch.tensor(0.37))
        self.patches = nn.Conv2d(1, width, 2, stride=2)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.position = nn.Parameter(0.02 * torch.randn(1, 17, width))
        layer = nn.TransformerEncoderLayer(width, 2, 2 * width, dropout=0.0, activation="gelu", batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.last = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, (n, 10), of images (n, 1, 8, 8) in [0, 1]."""
        patches = self.patches((x - self.mean) / self.deviation).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(x.shape[0], -1, -1), patches], 1) + self.position
        logits: Tensor = self.last(self.encoder(tokens)[:, 0])
        return logits


def trained(points: LabelledPoints, epochs: int = 30) -> VisionTransformer:
    """Train one; seconds, and the same each time."""
    with torch.random.fork_rng(), torch.enable_grad():
        torch.manual_seed(0)
        model = VisionTransformer()
        optimiser = torch.optim.AdamW(model.parameters(), 2e-3)
        for _ in range(epochs):
            for rows in torch.randperm(len(points.x)).split(64):
                optimiser.zero_grad()
                nn.functional.cross_entropy(model(points.x[rows]), points.y[rows]).backward()
                optimiser.step()
    return model.eval()
