from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmark.corruptions import CORRUPTIONS, SEVERITIES, corrupt

SHAPES = ((1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 24, 40))
WITHOUT_CHANCE = {"defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression"}


def _images(n: int, shape: tuple[int, int, int]) -> Tensor:
    """Pictures with an edge, a slope and a texture, made of whole numbers alone: the same bytes everywhere."""
    channels, height, width = shape
    point, channel = torch.arange(n)[:, None, None, None], torch.arange(channels)[:, None, None]
    row, column = torch.arange(height)[:, None], torch.arange(width)
    inside = (row - height // 2) ** 2 + (column - width // 3 - point) ** 2 < (min(height, width) // 3) ** 2
    slope = 100 * row // height + 60 * column // width + 20 * channel
    texture = (7 * row + 13 * column * (point + 1) + 5 * row * column) % 23
    return (slope + texture + 50 * inside).clamp(0, 255).to(torch.float32) / 255


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_contract(corruption: str, shape: tuple[int, int, int]) -> None:
    x = _images(3, shape)
    before = x.clone()
    torch.manual_seed(0)
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()
    for severity in SEVERITIES:
        found = corrupt(x, corruption, severity, [5, 0, 7], seed=3)
        assert found.shape == x.shape
        assert found.dtype == torch.float32
        assert found.is_contiguous()
        levels = (found * 255).round()
        assert torch.equal(found, levels / 255)
        assert 0 <= levels.min() <= levels.max() <= 255
        assert not torch.equal(found, x)
        again = corrupt(x, corruption, severity, [5, 0, 7], seed=3)
        assert torch.equal(found, again)
        one_by_one = [corrupt(x[i : i + 1], corruption, severity, [j], seed=3) for i, j in ((2, 7), (0, 5), (1, 0))]
        assert torch.equal(found[[2, 0, 1]], torch.cat(one_by_one))
    assert torch.equal(x, before)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert all(np.array_equal(a, b) for a, b in zip(np.random.get_state(), numpy_state, strict=True))
